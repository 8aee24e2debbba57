// How near a coded picture is to the original, in what its model was trained for.

import type { Picture } from "./codec";
import type { ModelInfo } from "./models";
import { MIN_SIDE, msSsim } from "./ms_ssim";

export type Measure = "psnr" | "ms_ssim";

export interface Fidelity {
  measure: Measure;
  /** Decibels of PSNR; MS-SSIM is at most 1. */
  value: number;
}

/** MS-SSIM for what was trained for it, where the picture is large enough, and else PSNR. */
export function measureOf(model: ModelInfo, width: number, height: number): Measure {
  return model.distortion === "ms_ssim" && Math.min(width, height) >= MIN_SIDE ? "ms_ssim" : "psnr";
}

export async function fidelityOf(
  original: Picture, coded: Picture, measure: Measure, breathe: () => Promise<void>,
): Promise<Fidelity> {
  const value = measure === "psnr" ? psnr(original, coded) : await msSsim(original, coded, breathe);
  return { measure, value };
}

/** What stands in the table, and with more figures what it says when one points at it. */
export function formatFidelity({ measure, value }: Fidelity): { short: string; long: string } {
  if (measure === "ms_ssim") return { short: value.toFixed(3), long: `MS-SSIM ${value.toFixed(5)}` };
  const decibels = Number.isFinite(value) ? value.toFixed(2) : "∞";
  return { short: decibels, long: `PSNR ${decibels} dB` };
}

function psnr(original: Picture, coded: Picture): number {
  let squares = 0;
  for (let at = 0; at < original.data.length; at += 4) {
    const red = original.data[at] - coded.data[at];
    const green = original.data[at + 1] - coded.data[at + 1];
    const blue = original.data[at + 2] - coded.data[at + 2];
    squares += red * red + green * green + blue * blue;
  }
  return 10 * Math.log10((255 ** 2 * 3 * original.width * original.height) / squares);
}
