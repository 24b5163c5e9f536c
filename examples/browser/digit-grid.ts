/** @file The test digits with what the network takes them for. */
import { contextOf, percent } from './dom.ts'
import { SIDE, type Guess } from './protocol.ts'

/** Puts grey values on a canvas as black ink; the style sheet turns it white where it is dark. */
export function putDigit(canvas: HTMLCanvasElement, image: Uint8Array): void {
  const pixels = new ImageData(SIDE, SIDE)
  image.forEach((grey, i) => {
    pixels.data[4 * i + 3] = grey
  })
  contextOf(canvas).putImageData(pixels, 0, 0)
}

/** A digit's place in the list. */
interface Tile {
  readonly item: HTMLLIElement
  readonly digit: HTMLElement
  readonly confidence: Text
}

/** A list of digits, each with a caption. */
export class DigitGrid {
  readonly #list: HTMLElement
  #labels = new Uint8Array()
  #tiles: Tile[] = []

  constructor(list: HTMLElement) {
    this.#list = list
  }

  /** Shows these digits, [count, 28, 28], without guesses. */
  show(images: Uint8Array, labels: Uint8Array): void {
    const pixels = SIDE * SIDE
    this.#labels = Uint8Array.from(labels)
    this.#tiles = Array.from(labels, (label, i) =>
      makeTile(label, images.subarray(i * pixels, (i + 1) * pixels)),
    )
    this.#list.replaceChildren(...this.#tiles.map(({ item }) => item))
  }

  /** Forgets the guesses. */
  clear(): void {
    for (const { item, digit, confidence } of this.#tiles) {
      item.className = ''
      item.title = ''
      digit.textContent = ''
      confidence.data = ''
    }
  }

  /** Shows what each digit is taken for. Returns how many are right. */
  guess(guesses: readonly Guess[]): number {
    let right = 0
    guesses.forEach(({ digit, confidence }, i) => {
      const tile = this.#tiles[i]!
      const isRight = digit === this.#labels[i]
      if (isRight) right++
      tile.item.className = isRight ? 'right' : 'wrong'
      tile.item.title = `It is a ${this.#labels[i]}, taken for a ${digit} with ${percent(confidence)}`
      // Colour alone would not tell everybody.
      tile.digit.textContent = `${digit} ${isRight ? '✓' : '✗'}`
      tile.confidence.data = ` ${percent(confidence, 0)}`
    })
    return right
  }
}

function makeTile(label: number, image: Uint8Array): Tile {
  const canvas = document.createElement('canvas')
  canvas.width = SIDE
  canvas.height = SIDE
  canvas.setAttribute('role', 'img')
  canvas.setAttribute('aria-label', `A ${label}:`)
  putDigit(canvas, image)
  const item = document.createElement('li')
  const caption = document.createElement('span')
  const digit = document.createElement('b')
  const confidence = document.createTextNode('')
  caption.append(digit, confidence)
  item.append(canvas, caption)
  return { item, digit, confidence }
}
