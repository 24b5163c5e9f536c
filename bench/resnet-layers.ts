/** @file The distinct convolutions of ResNet-50 (He et al., 2015; the stride on the 3x3, as everywhere today). */

export interface ConvLayer {
  readonly inChannels: number
  readonly outChannels: number
  /** Height and width of the input. */
  readonly size: number
  readonly kernel: number
  readonly stride: number
  readonly padding: number
}

const layer = (
  inChannels: number,
  outChannels: number,
  size: number,
  kernel: number,
  stride = 1,
): ConvLayer => ({
  inChannels,
  outChannels,
  size,
  kernel,
  stride,
  padding: (kernel - 1) / 2,
})

/** One stage: its first block shrinks, the others keep the size; the wide and the narrow width. */
function stage(input: number, narrow: number, size: number, stride: number): ConvLayer[] {
  const wide = 4 * narrow
  const small = size / stride
  return [
    layer(input, narrow, size, 1), // the first block's way in
    layer(narrow, narrow, size, 3, stride),
    layer(narrow, wide, small, 1), // every block's way out
    layer(input, wide, size, 1, stride), // the first block's shortcut
    layer(wide, narrow, small, 1), // the other blocks' way in
    layer(narrow, narrow, small, 3),
  ]
}

export const RESNET50: readonly ConvLayer[] = distinct([
  layer(3, 64, 224, 7, 2),
  ...stage(64, 64, 56, 1),
  ...stage(256, 128, 56, 2),
  ...stage(512, 256, 28, 2),
  ...stage(1024, 512, 14, 2),
])

export function outSize({ size, kernel, stride, padding }: ConvLayer): number {
  return Math.floor((size + 2 * padding - kernel) / stride) + 1
}

/** '64 -> 256, 1x1 on 56x56', with the stride if it is not 1. */
export function describeLayer({
  inChannels,
  outChannels,
  kernel,
  size,
  stride,
}: ConvLayer): string {
  const step = stride === 1 ? '' : ` /${stride}`
  return `${inChannels} -> ${outChannels}, ${kernel}x${kernel}${step} on ${size}x${size}`
}

function distinct(layers: readonly ConvLayer[]): ConvLayer[] {
  return [...new Map(layers.map((x) => [describeLayer(x), x])).values()]
}
