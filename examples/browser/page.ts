/** @file The page: what is clicked goes to the worker, what the worker tells is shown. */
import { byId, percent } from './dom.ts'
import { DigitGrid, putDigit } from './digit-grid.ts'
import { DrawPad } from './draw-pad.ts'
import { LossChart } from './loss-chart.ts'
import {
  SIDE,
  type DataReport,
  type EpochReport,
  type FailureReport,
  type NetworkName,
  type ProgressReport,
  type Report,
  type Request,
} from './protocol.ts'

/** What goes on; also in `data-state` of the body, for style and for tests. */
type State = 'loading' | 'ready' | 'training' | 'stopping' | 'broken'

const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' })
const chart = new LossChart(byId('curve', HTMLCanvasElement))
const grid = new DigitGrid(byId('digits', HTMLOListElement))
const pad = new DrawPad(byId('pad', HTMLCanvasElement), showDrawing)
const bars = Array.from({ length: 10 }, makeBar)
const networkChoice = byId('controls', HTMLFormElement).elements.namedItem(
  'network',
) as RadioNodeList
const epochsInput = byId('epochs', HTMLInputElement)
const filesInput = byId('files', HTMLInputElement)

let state: State = 'loading'
let epochs = 0
let hasNetwork = false
/** The drawn digit, and the one that the worker is reading. */
let drawing: Uint8Array | undefined
let asked: Uint8Array | undefined

// -- to the worker

byId('controls', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault()
  if (state !== 'ready') return
  epochs = epochsInput.valueAsNumber
  setState('training', 'Starting ...')
  ask({ kind: 'train', network: networkChoice.value as NetworkName, epochs })
})
on('stop', () => {
  setState('stopping', 'Stopping ...')
  ask({ kind: 'stop' })
})
on('pick-files', () => filesInput.click())
on('use-synthetic', () => load([]))
on('clear', () => pad.clear())
on('problem-close', () => {
  byId('problem', HTMLElement).hidden = true
})
filesInput.addEventListener('change', () => {
  if (filesInput.files !== null && filesInput.files.length > 0) load([...filesInput.files])
  filesInput.value = ''
})

function load(files: readonly File[]): void {
  setState('loading', files.length > 0 ? 'Reading the files ...' : 'Drawing digits ...')
  ask({ kind: 'load', files })
}

function showDrawing(image: Uint8Array | undefined): void {
  drawing = image
  putDigit(byId('seen', HTMLCanvasElement), image ?? new Uint8Array(SIDE * SIDE))
  if (image === undefined) showReading(undefined)
  else askToRead()
}

/** One drawing at a time: while the pen is quick, those in between are left out. */
function askToRead(): void {
  if (!hasNetwork || drawing === undefined || asked !== undefined) return
  asked = drawing
  ask({ kind: 'read', image: drawing })
}

function ask(request: Request): void {
  worker.postMessage(request)
}

// -- from the worker

worker.addEventListener('message', ({ data }: MessageEvent<Report>) => show(data))
worker.addEventListener('error', (event) => {
  event.preventDefault()
  showProblem('The worker failed.', event.message || 'Its script could not be loaded.')
  setState('broken', 'Reload the page to try again.')
})

function show(report: Report): void {
  switch (report.kind) {
    case 'data':
      return showData(report)
    case 'started':
      return showStart(report.stepsPerEpoch, report.parameters)
    case 'progress':
      return showProgress(report)
    case 'guesses': {
      const right = grid.guess(report.guesses)
      text('score', `${right} of these ${report.guesses.length} are read right.`)
      return
    }
    case 'epoch':
      return showEpoch(report)
    case 'finished':
      return setState('ready', report.isStopped ? 'Stopped.' : 'Done. Now draw a digit!')
    case 'read':
      return showAnswer(report.probabilities)
    case 'failed':
      return showFailure(report)
  }
}

function showData({ isSynthetic, description, images, labels }: DataReport): void {
  text('source', isSynthetic ? 'Synthetic digits' : 'MNIST')
  text('description', description)
  byId('use-synthetic', HTMLElement).hidden = isSynthetic
  grid.show(images, labels)
  setState('ready', 'Ready.')
}

function showStart(stepsPerEpoch: number, parameters: number): void {
  hasNetwork = true
  showDrawing(drawing)
  chart.start(stepsPerEpoch, epochs)
  grid.clear()
  for (const id of ['accuracy', 'speed', 'memory']) text(id, '–')
  text('epoch', `1 of ${epochs}`)
  byId('history', HTMLElement).replaceChildren()
  if (state === 'training')
    text('status', `Training ${parameters.toLocaleString('en')} parameters ...`)
}

function showProgress({ losses, imagesPerSecond, memory }: ProgressReport): void {
  chart.add(losses)
  text('speed', Math.round(imagesPerSecond).toLocaleString('en'))
  text('memory', `${(memory / 2 ** 20).toFixed(0)} MB`)
  askToRead()
}

function showEpoch({ epoch, trainLoss, testLoss, testAccuracy, seconds }: EpochReport): void {
  chart.addTest(testLoss)
  text('accuracy', percent(testAccuracy))
  text('epoch', `${Math.min(epoch + 1, epochs)} of ${epochs}`)
  const row = byId('history', HTMLTableSectionElement).insertRow()
  for (const cell of [
    String(epoch),
    trainLoss.toFixed(4),
    testLoss.toFixed(4),
    percent(testAccuracy),
    `${seconds.toFixed(1)} s`,
  ])
    row.insertCell().textContent = cell
  if (state === 'training')
    text('status', `Epoch ${epoch} of ${epochs}: ${percent(testAccuracy)} right.`)
}

function showAnswer(probabilities: readonly number[]): void {
  const isLatest = asked === drawing
  asked = undefined
  if (drawing !== undefined) showReading(probabilities)
  if (!isLatest) askToRead()
}

function showReading(probabilities: readonly number[] | undefined): void {
  const best = probabilities?.indexOf(Math.max(...probabilities))
  bars.forEach((bar, digit) => {
    bar.style.setProperty('--part', String(probabilities?.[digit] ?? 0))
    bar.classList.toggle('best', digit === best)
  })
  const shown = byId('reading', HTMLElement)
  if (probabilities === undefined || best === undefined) {
    shown.textContent = hasNetwork ? 'Draw above.' : 'Train a network first.'
    return
  }
  const digit = document.createElement('strong')
  digit.textContent = String(best)
  shown.replaceChildren(digit, ` ${percent(probabilities[best]!, 0)} sure`)
}

function showFailure({ during, name, message }: FailureReport): void {
  showProblem(`${name}:`, message)
  if (during === 'read') asked = undefined
  else setState('ready', 'That did not work.')
}

function showProblem(name: string, message: string): void {
  text('problem-name', name)
  text('problem-message', message)
  byId('problem', HTMLElement).hidden = false
}

// -- the page itself

function setState(next: State, status: string): void {
  state = next
  document.body.dataset['state'] = next
  text('status', status)
  byId('start', HTMLButtonElement).disabled = next !== 'ready'
  byId('stop', HTMLButtonElement).disabled = next !== 'training'
  for (const id of ['pick-files', 'use-synthetic'])
    byId(id, HTMLButtonElement).disabled = next !== 'ready'
  byId('network', HTMLFieldSetElement).disabled = next === 'training' || next === 'stopping'
  epochsInput.disabled = next === 'training' || next === 'stopping'
}

function makeBar(_: unknown, digit: number): HTMLLIElement {
  const bar = document.createElement('li')
  bar.textContent = String(digit)
  byId('bars', HTMLOListElement).append(bar)
  return bar
}

function on(id: string, act: () => void): void {
  byId(id, HTMLButtonElement).addEventListener('click', act)
}

function text(id: string, content: string): void {
  byId(id, HTMLElement).textContent = content
}

chart.start(1, epochsInput.valueAsNumber)
load([])
