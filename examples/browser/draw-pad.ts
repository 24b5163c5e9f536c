/** @file A pad to draw a digit on by hand, with pointer or keyboard, and the bars that show how it is read. */
import { color, contextOf, clearToFit, redrawOnChange } from './dom.ts'
import { SIDE } from './protocol.ts'

/** Positions on the pad, 0 to 1 in both directions. */
interface Point {
  readonly x: number
  readonly y: number
}

/** Width of the pen as seen by the network, in pixels of its 28. */
const penWidth = 2.6
/** MNIST's digits fill a box of 20 pixels. */
const digitSide = 19
/** What an arrow key moves the pen. */
const keyStep = 1 / 24

const arrows: Record<string, readonly [number, number]> = {
  ArrowLeft: [-keyStep, 0],
  ArrowRight: [keyStep, 0],
  ArrowUp: [0, -keyStep],
  ArrowDown: [0, keyStep],
}

/** Tells `onChange` the digit as the network wants it, or undefined when the pad is empty. */
export class DrawPad {
  readonly #canvas: HTMLCanvasElement
  readonly #onChange: (image: Uint8Array | undefined) => void
  readonly #small = document.createElement('canvas')
  #strokes: Point[][] = []
  /** Where the keyboard's pen is, and whether it writes. */
  #pen: Point = { x: 0.5, y: 0.15 }
  #isWriting = false

  constructor(canvas: HTMLCanvasElement, onChange: (image: Uint8Array | undefined) => void) {
    this.#canvas = canvas
    this.#onChange = onChange
    this.#small.width = SIDE
    this.#small.height = SIDE
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId)
      this.#strokes.push([this.#pointAt(event)])
      this.#changed()
    })
    canvas.addEventListener('pointermove', (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return
      for (const each of event.getCoalescedEvents?.() ?? [event])
        this.#strokes.at(-1)?.push(this.#pointAt(each))
      this.#changed()
    })
    canvas.addEventListener('keydown', (event) => this.#onKey(event))
    canvas.addEventListener('focus', () => this.#draw())
    canvas.addEventListener('blur', () => {
      this.#isWriting = false
      this.#draw()
    })
    redrawOnChange(canvas, () => this.#draw())
  }

  clear(): void {
    this.#strokes = []
    this.#isWriting = false
    this.#changed()
  }

  #onKey(event: KeyboardEvent): void {
    const move = arrows[event.key]
    if (move !== undefined) {
      this.#pen = { x: clamp(this.#pen.x + move[0]), y: clamp(this.#pen.y + move[1]) }
      if (this.#isWriting) this.#strokes.at(-1)?.push(this.#pen)
    } else if (event.key === ' ') {
      this.#isWriting = !this.#isWriting
      if (this.#isWriting) this.#strokes.push([this.#pen])
    } else if (event.key === 'Delete' || event.key === 'Backspace') this.clear()
    else return
    event.preventDefault()
    this.#changed()
  }

  #pointAt({ clientX, clientY }: MouseEvent): Point {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect()
    return { x: clamp((clientX - left) / width), y: clamp((clientY - top) / height) }
  }

  #changed(): void {
    this.#draw()
    this.#onChange(this.#strokes.length > 0 ? this.#toImage() : undefined)
  }

  #draw(): void {
    const { width, height } = clearToFit(this.#canvas)
    const context = contextOf(this.#canvas)
    context.strokeStyle = color('ink')
    this.#trace(context, (p) => ({ x: p.x * width, y: p.y * height }), (width * penWidth) / SIDE)
    if (!this.#canvas.matches(':focus-visible')) return
    context.fillStyle = color(this.#isWriting ? 'test' : 'accent')
    context.beginPath()
    context.arc(this.#pen.x * width, this.#pen.y * height, 6, 0, 2 * Math.PI)
    context.fill()
  }

  /** The digit as MNIST has them: 20 pixels high or wide, its centre of mass in the middle. */
  #toImage(): Uint8Array {
    const points = this.#strokes.flat()
    const [left, right] = ends(points.map((p) => p.x))
    const [top, bottom] = ends(points.map((p) => p.y))
    const scale = (digitSide - penWidth) / Math.max(right - left, bottom - top, 0.15)
    const middle = { x: (left + right) / 2, y: (top + bottom) / 2 }
    const mass = centreOfMass(this.#render(middle, scale))
    const centre = { x: middle.x + mass.x / scale, y: middle.y + mass.y / scale }
    return this.#render(centre, scale)
  }

  #render(centre: Point, scale: number): Uint8Array {
    const context = contextOf(this.#small, { willReadFrequently: true })
    context.clearRect(0, 0, SIDE, SIDE)
    const place = (p: Point) => ({
      x: SIDE / 2 + (p.x - centre.x) * scale,
      y: SIDE / 2 + (p.y - centre.y) * scale,
    })
    this.#trace(context, place, penWidth)
    const { data } = context.getImageData(0, 0, SIDE, SIDE)
    return Uint8Array.from({ length: SIDE * SIDE }, (_, i) => data[4 * i + 3]!)
  }

  #trace(context: CanvasRenderingContext2D, place: (p: Point) => Point, width: number): void {
    context.lineWidth = width
    context.lineCap = 'round'
    context.lineJoin = 'round'
    context.beginPath()
    for (const stroke of this.#strokes) {
      const [first, ...rest] = stroke.map(place)
      context.moveTo(first!.x, first!.y)
      // A line to where it begins makes a dot.
      for (const { x, y } of rest.length > 0 ? rest : [first!]) context.lineTo(x, y)
    }
    context.stroke()
  }
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value))
}

function ends(values: readonly number[]): [least: number, greatest: number] {
  return [Math.min(...values), Math.max(...values)]
}

/** How far from the middle the ink's centre lies, in pixels. */
function centreOfMass(image: Uint8Array): Point {
  let [total, x, y] = [1e-9, 0, 0]
  image.forEach((ink, i) => {
    total += ink
    x += ink * ((i % SIDE) + 0.5 - SIDE / 2)
    y += ink * (Math.floor(i / SIDE) + 0.5 - SIDE / 2)
  })
  return { x: x / total, y: y / total }
}
