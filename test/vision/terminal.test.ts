import { describe, expect, test } from 'vitest'
import { ShapeError, ValueError } from '../../src/util/errors.ts'
import { drawDigits } from '../../src/vision/synthetic-digits.ts'
import { renderImages } from '../../src/vision/terminal.ts'

const { images, labels } = drawDigits({ count: 6, seed: 11 })
// oxlint-disable-next-line no-control-regex
const withoutColors = (text: string) => text.replaceAll(/\x1b\[[\d;]*m/g, '')

describe('plain ASCII', () => {
  test('the ramp and the mean of two rows', () => {
    const ladder = Uint8Array.from({ length: 20 }, (_, i) => Math.round((i % 10) * (255 / 9)))
    expect(renderImages(ladder, { rows: 2, columns: 10, color: false })).toBe(' .:-=+*#%@')
    expect(renderImages(Uint8Array.of(255, 0), { rows: 2, columns: 1, color: false })).toBe('+')
    expect(renderImages(Uint8Array.of(255), { rows: 1, columns: 1, color: false })).toBe('+')
  })

  test('bytes and fractions look the same', () => {
    const fractions = Float32Array.from(images, (grey) => grey / 255)
    expect(renderImages(fractions, { color: false })).toBe(renderImages(images, { color: false }))
    const odd = Float32Array.of(NaN, 7, -1, 1)
    expect(renderImages(odd, { rows: 1, columns: 4, color: false })).toBe(' + +')
  })

  test('layout: captions, lines, count', () => {
    const text = renderImages(images, { perLine: 2, count: 3, captions: [...labels], color: false })
    const lines = text.split('\n')
    expect(lines.length).toBe(15 + 1 + 15)
    expect(lines[14]).toBe(' '.repeat(13) + labels[0] + ' '.repeat(14 + 2 + 13) + labels[1])
    expect(lines[15]).toBe('')
    expect(lines.every((line) => line.length <= 58 && line === line.trimEnd())).toBe(true)
    expect(renderImages(images, { color: false }).split('\n')[0]!.length).toBeLessThanOrEqual(88)
  })

  test('a caption is cut, and stays on its line', () => {
    const options = { rows: 2, columns: 3, color: false, captions: ['a\nb\x1b[31m'] } as const
    expect(renderImages(new Uint8Array(6), options)).toBe('\na b')
  })
})

describe('colour', () => {
  test('24 bits: half blocks, codes only where a colour changes', () => {
    const pixels = Uint8Array.of(9, 9, 5, 0, 0, 5)
    expect(renderImages(pixels, { rows: 2, columns: 3 })).toBe(
      '\x1b[38;2;9;9;9;48;2;0;0;0m▀▀\x1b[48;2;5;5;5m \x1b[0m',
    )
  })

  test('256 colours', () => {
    const pixels = Uint8Array.of(0, 128, 255, 255, 255, 0)
    expect(renderImages(pixels, { rows: 2, columns: 3, color: 256 })).toBe(
      '\x1b[38;5;16;48;5;231m▀\x1b[38;5;244m▀\x1b[38;5;231;48;5;16m▀\x1b[0m',
    )
  })

  test('has the size of the plain drawing', () => {
    for (const color of [true, 256] as const) {
      const lines = withoutColors(renderImages(images, { color, perLine: 3 })).split('\n')
      expect(lines.length).toBe(14 + 1 + 14)
      expect(lines[0]!.length).toBe(3 * 28 + 4)
    }
  })
})

test('no images', () => expect(renderImages(new Uint8Array(0))).toBe(''))

test('arguments', () => {
  expect(() => renderImages(new Uint8Array(785))).toThrow(ShapeError)
  expect(() => renderImages(images, { count: 7 })).toThrow(/6 images of 28 x 28, asked for 7/)
  expect(() => renderImages(images, { perLine: 0 })).toThrow(ValueError)
  expect(() => renderImages(images, { rows: 1.5 })).toThrow(/rows is 1.5/)
  expect(() => renderImages(images, { colour: false } as never)).toThrow(/did you mean 'color'/)
})
