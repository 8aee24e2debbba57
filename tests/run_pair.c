// Runs one signature of a SavedModel through TensorFlow's C API: bytes in, bytes out.
//
//   run_pair SAVED_MODEL INPUT_TENSOR OUTPUT_TENSOR IN OUT
//
// Tensors are names of the graph's operations with an index, such as
// serving_default_image_bytes:0. Errors are TensorFlow's, exit status 1.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

static void check(TF_Status* status) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%d: %s\n", (int)TF_GetCode(status), TF_Message(status));
    exit(1);
  }
}

static TF_Output find(TF_Graph* graph, char* name) {
  char* colon = strrchr(name, ':');
  *colon = 0;
  TF_Output output = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
  if (!output.oper) {
    fprintf(stderr, "no operation %s\n", name);
    exit(2);
  }
  return output;
}

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  FILE* file = fopen(argv[4], "rb");
  if (!file) return 2;
  fseek(file, 0, SEEK_END);
  size_t size = (size_t)ftell(file);
  rewind(file);
  char* data = malloc(size);
  if (fread(data, 1, size, file) != size) return 2;
  fclose(file);

  const int64_t dims[] = {1};
  TF_Tensor* in = TF_AllocateTensor(TF_STRING, dims, 1, sizeof(TF_TString));
  TF_TString* string = TF_TensorData(in);
  TF_StringInit(string);
  TF_StringCopy(string, data, size);

  TF_Output input = find(graph, argv[2]), output = find(graph, argv[3]);
  TF_Tensor* out = NULL;
  TF_SessionRun(session, NULL, &input, &in, 1, &output, &out, 1, NULL, 0, NULL, status);
  check(status);

  file = fopen(argv[5], "wb");
  if (!file) return 2;
  string = TF_TensorData(out);
  size = TF_StringGetSize(string);
  if (fwrite(TF_StringGetDataPointer(string), 1, size, file) != size) return 2;
  fclose(file);
  return 0;
}
