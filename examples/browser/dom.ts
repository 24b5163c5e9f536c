/** @file Getting at the page's elements, with their types checked once. */

/** The element of this id. Throws when the page has none of this type. */
export function byId<E extends HTMLElement>(id: string, type: new () => E): E {
  const found = document.getElementById(id)
  if (found instanceof type) return found
  throw new Error(
    `#${id}: the page has no ${type.name} of this id. Is index.html of another version?`,
  )
}

/** The drawing context of a canvas. */
export function contextOf(
  canvas: HTMLCanvasElement,
  options: CanvasRenderingContext2DSettings = {},
): CanvasRenderingContext2D {
  const context = canvas.getContext('2d', options)
  if (context === null) throw new Error(`#${canvas.id}: this browser cannot draw on a canvas`)
  return context
}

/** Clears the canvas and fits its pixels to its size on the screen; drawing units are CSS pixels. */
export function clearToFit(canvas: HTMLCanvasElement): { width: number; height: number } {
  const { clientWidth: width, clientHeight: height } = canvas
  const ratio = window.devicePixelRatio
  const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)]
  if (canvas.width !== columns) canvas.width = columns
  if (canvas.height !== rows) canvas.height = rows
  const context = contextOf(canvas)
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  context.clearRect(0, 0, width, height)
  return { width, height }
}

/** The page's colour of this role, such as 'accent', as the present light or dark mode has it. */
export function color(role: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${role}`).trim()
}

/** Calls `redraw` soon, and whenever the canvas changes its size or the page its colours. */
export function redrawOnChange(canvas: HTMLCanvasElement, redraw: () => void): void {
  new ResizeObserver(redraw).observe(canvas)
  window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw)
}

/** 0.973 -> '97.3%'. */
export function percent(part: number, digits = 1): string {
  return `${(100 * part).toFixed(digits)}%`
}
