/** @file Grey images as text: what a digit looks like, without leaving the terminal. */
import { ShapeError, ValueError, checkOptions } from '../util/errors.ts'

export interface RenderOptions {
  /** Height of one image in pixels. Default 28. */
  readonly rows?: number
  /** Width of one image in pixels. Default 28. */
  readonly columns?: number
  /** How many images to draw, from the first. Default all of them. */
  readonly count?: number
  /** Images side by side. Default as many as 80 characters hold, at least one. */
  readonly perLine?: number
  /** A line under each image, cut to its width; missing ones stay empty. */
  readonly captions?: readonly (string | number)[]
  /** true for 24-bit colour, 256 for terminals with that palette, false for plain ASCII. Default true. */
  readonly color?: boolean | 256
}

const knownOptions = [
  'rows',
  'columns',
  'count',
  'perLine',
  'captions',
  'color',
] as const satisfies readonly (keyof RenderOptions)[]

/** From paper to ink. */
const ramp = ' .:-=+*#%@'
const gap = 2
const lineWidth = 80

/** One row of characters for the pixel rows `upper` and `lower`, whose grey values are 0..255. */
type DrawRow = (upper: Uint8Array, lower: Uint8Array) => string

/**
 * Draws grey images side by side as text. A character covers two pixels, one above the other, since
 * it is about twice as high as wide: a half block in two colours, or an ASCII sign of their mean.
 *
 * @param images [count, rows, columns]; a Uint8Array has 0..255, a Float32Array 0..1, higher is brighter.
 * @returns lines with '\n' between them and no '\n' at the end; nothing is printed.
 * @throws ShapeError when `images` does not hold `count` whole images; ValueError for odd options.
 * @example
 * const image = Uint8Array.of(0, 255, 0, 255)
 * renderImages(image, { rows: 2, columns: 2, color: false }) // -> ' @'
 */
export function renderImages(
  images: Uint8Array | Float32Array,
  options: RenderOptions = {},
): string {
  checkOptions('renderImages', options, knownOptions)
  const { rows = 28, columns = 28, captions, color = true } = options
  checkPositive('rows', rows)
  checkPositive('columns', columns)
  const size = rows * columns
  const { count = images.length / size } = options
  if (!Number.isInteger(count) || count < 0 || count * size > images.length)
    throw new ShapeError(
      `renderImages: ${images.length} pixels are ${images.length / size} images of ${rows} x ${columns}, asked for ${count}. Expected whole images, as many as there are`,
    )
  const { perLine = Math.max(1, Math.floor((lineWidth + gap) / (columns + gap))) } = options
  checkPositive('perLine', perLine)
  const drawRow = color === false ? asciiRow : color === 256 ? paletteRow : trueColorRow
  const grey = (image: number, row: number) =>
    greyRow(images, image * size + row * columns, columns)
  const blank = new Uint8Array(columns)
  const lines: string[] = []
  for (let first = 0; first < count; first += perLine) {
    if (first > 0) lines.push('')
    const shown = Array.from({ length: Math.min(perLine, count - first) }, (_, i) => first + i)
    for (let row = 0; row < rows; row += 2)
      lines.push(
        joined(shown, (i) => drawRow(grey(i, row), row + 1 < rows ? grey(i, row + 1) : blank)),
      )
    if (captions !== undefined)
      lines.push(joined(shown, (i) => centred(String(captions[i] ?? ''), columns)))
  }
  return lines.join('\n')
}

/** Grey values 0..255 of one row of pixels, whatever the images hold. */
function greyRow(images: Uint8Array | Float32Array, start: number, columns: number): Uint8Array {
  if (images instanceof Uint8Array) return images.subarray(start, start + columns)
  return Uint8Array.from(images.subarray(start, start + columns), (value) =>
    Math.round(255 * Math.min(1, Math.max(0, value))),
  )
}

const asciiRow: DrawRow = (upper, lower) =>
  Array.from(
    upper,
    (grey, i) => ramp[Math.round(((grey + lower[i]!) / 510) * (ramp.length - 1))],
  ).join('')

const paletteRow: DrawRow = (upper, lower) =>
  blockRow(upper, lower, (grey) => `5;${paletteIndex(grey)}`)

const trueColorRow: DrawRow = (upper, lower) =>
  blockRow(upper, lower, (grey) => `2;${grey};${grey};${grey}`)

/** Upper half blocks: the text colour is the upper pixel, the background the lower one. */
function blockRow(upper: Uint8Array, lower: Uint8Array, colorOf: (grey: number) => string): string {
  let text = ''
  let foreground = ''
  let background = ''
  upper.forEach((above, i) => {
    const below = lower[i]!
    const codes: string[] = []
    if (above !== below && foreground !== (foreground = colorOf(above)))
      codes.push(`38;${foreground}`)
    if (background !== (background = colorOf(below))) codes.push(`48;${background}`)
    if (codes.length > 0) text += `\x1b[${codes.join(';')}m`
    text += above === below ? ' ' : '▀'
  })
  return `${text}\x1b[0m`
}

/** The 256-colour palette has black at 16, white at 231 and 24 greys between them at 232..255. */
function paletteIndex(grey: number): number {
  const level = Math.round((grey / 255) * 25)
  return level === 0 ? 16 : level === 25 ? 231 : 231 + level
}

function joined(shown: readonly number[], draw: (image: number) => string): string {
  return shown.map(draw).join(' '.repeat(gap)).trimEnd()
}

/** The text in the middle of `width` characters, on one line, cut where it is longer. */
function centred(text: string, width: number): string {
  const characters = Array.from(text.replaceAll(/\p{Cc}/gu, ' ')).slice(0, width)
  const left = Math.floor((width - characters.length) / 2)
  return ' '.repeat(left) + characters.join('') + ' '.repeat(width - characters.length - left)
}

function checkPositive(name: string, value: number): void {
  if (Number.isInteger(value) && value > 0) return
  throw new ValueError(`renderImages: ${name} is ${value}. Expected a whole number above 0`)
}
