/** @file How people write the ten digits: stroke templates as points a pen passes through. */

/** One way to write a digit: strokes of points, x and y in 0..100 with y down. */
export interface DigitTemplate {
  /** x, y per point, all strokes one after the other. */
  readonly points: Float64Array
  /** 1 where the pen turns sharply, 0 where the curve runs through smoothly; one per point. */
  readonly corners: Uint8Array
  /** Index of each stroke's first point, then the number of points. */
  readonly strokes: readonly number[]
}

/**
 * Points the pen passes through, `x,y`; `!` marks a sharp turn, `/` lifts the pen. The variants of a
 * digit are those that people confuse: an open and a closed 4, a barred 7, a 1 with a foot, a looped 2.
 */
const drawings: readonly (readonly string[])[] = [
  [
    '52,2 24,14 12,50 24,86 50,98 77,84 88,48 76,14 52,2 40,6',
    '64,8 40,4 18,32 14,68 36,97 66,88 84,54 78,20 56,6',
    '50,3 22,30 20,70 50,97 80,70 78,30 48,3',
    '30,18 14,48 22,84 50,97 80,82 86,44 68,10 40,4 22,22',
  ],
  [
    '51,2 50,50 49,98',
    '28,26 55,3! 54,50 52,98',
    '28,22 54,4! 53,96 / 26,97 80,96',
    '66,3 52,50 36,98',
  ],
  [
    '16,28 28,8 56,3 78,20 72,44 46,70 14,96! 50,93 88,95',
    '20,22 42,3 74,12 76,38 52,68 26,92 12,88 20,76 42,82 64,96 90,86',
    '20,14 58,3 82,22 62,54 14,96! 86,96',
    '14,34 34,6 66,6 78,28 58,60 30,86 14,95! 36,84 62,90 88,98',
  ],
  [
    '20,14 46,2 76,14 72,36 42,47! 74,54 82,76 56,97 16,88',
    '18,7! 78,6! 44,40! 74,50 80,76 54,97 16,90',
    '20,18 48,3 74,18 62,40 42,47 40,43 54,46 78,62 76,86 48,98 16,86',
    '16,10 52,3 70,22 48,44! 72,58 74,80 52,96 24,98',
  ],
  [
    '30,3 16,56! 88,54 / 66,24 64,98',
    '62,98 66,3! 12,66! 90,64',
    '24,5 20,34 34,52 70,46 / 78,4 70,50 62,98',
    '26,8 18,44 40,54 74,42! 80,6! 70,54 66,98',
  ],
  [
    '76,6 30,8! 24,44! 52,38 80,56 76,84 46,98 14,88',
    '30,8 24,46! 54,40 80,60 70,90 38,98 14,88 / 28,7 82,4',
    '80,6 40,7 28,32 50,46 76,64 66,92 14,94',
    '84,5 38,8! 26,48! 60,44 74,68 54,94 18,90',
  ],
  [
    '66,3 34,28 16,66 30,94 60,97 80,76 66,54 40,54 20,72',
    '44,2 24,40 18,78 44,98 74,86 74,62 48,54 22,72',
    '78,12 54,4 24,34 16,70 38,97 70,92 78,68 56,52 30,62 20,80',
    '74,2 42,34 22,70 36,97 60,94 70,76 56,64 30,78',
  ],
  [
    '14,8 84,7! 56,48 40,98',
    '14,9 84,7! 58,48 42,98 / 32,52 76,49',
    '16,24 16,8! 82,8! 60,42 48,98',
    '14,14 46,4 80,10! 62,38 50,98',
  ],
  [
    '76,16 50,3 24,18 36,40 66,56 80,78 52,98 20,80 36,56 64,40 76,16',
    '50,3 26,22 48,46 74,24 50,3 / 50,46 18,72 50,98 82,72 50,46',
    '80,12 48,3 24,22 50,46 78,74 50,98 20,76 46,50 74,26 76,8',
    '60,46 34,36 32,12 56,3 72,18 58,42 28,66 26,90 54,97 72,80 58,46',
  ],
  [
    '76,22 50,3 20,22 28,46 58,46 78,22! 74,60 62,98',
    '74,18 44,4 20,28 42,50 70,34 78,12! 78,70 56,96 24,90',
    '72,28 46,50 20,32 38,5 70,10 74,30! 68,98',
    '70,14 44,6 26,30 44,46 68,34 74,12! 56,64 36,98',
  ],
]

/** The templates per digit, index 0..9. */
export const digitTemplates: readonly (readonly DigitTemplate[])[] = drawings.map((variants) =>
  variants.map(parseDrawing),
)

function parseDrawing(drawing: string): DigitTemplate {
  const points: number[] = []
  const corners: number[] = []
  const strokes = [0]
  for (const stroke of drawing.split(' / ')) {
    for (const point of stroke.split(' ')) {
      corners.push(point.endsWith('!') ? 1 : 0)
      points.push(...point.replace('!', '').split(',').map(Number))
    }
    strokes.push(corners.length)
  }
  return { points: Float64Array.from(points), corners: Uint8Array.from(corners), strokes }
}
