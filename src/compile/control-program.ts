/** @file Branches and loops of a program: programs of their own, run as often as values say. */
import { engine } from '../tensor/engine.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { ControlNode, Graph, Part } from './graph.ts'

/** A program as its parts are run: on contiguous tensors, with the numbers of the whole. */
export interface Runnable {
  run(inputs: readonly Tensor[], numbers: readonly number[]): Tensor[]
  readonly kernelCount: number
  release(): void
}

type Run = (inputs: readonly Tensor[], numbers: readonly number[]) => Tensor[]

export class ControlProgram {
  readonly node: ControlNode
  /** Kernels of all parts. */
  readonly kernelCount: number
  readonly #run: Run
  readonly #programs: readonly Runnable[]

  constructor(node: ControlNode, compile: (graph: Graph) => Runnable) {
    const programs: Runnable[] = []
    this.#programs = programs
    const part = ({ graph, inputs }: Part): Run => {
      const program = compile(graph)
      programs.push(program)
      return (given, numbers) =>
        program.run(
          inputs.map((i) => engine().contiguous(given[i]!)),
          numbers,
        )
    }
    const { control, results } = node
    this.node = node
    this.#run =
      control.kind === 'cond'
        ? branch(part(control.whenTrue), part(control.whenFalse))
        : loop(part(control.condition), part(control.body), results.length)
    this.kernelCount = programs.reduce((sum, program) => sum + program.kernelCount, 0)
  }

  /** Gives memory and kernels back. */
  release(): void {
    for (const program of this.#programs) program.release()
  }

  /** Runs on the node's inputs. The results have memory of their own. */
  run(inputs: readonly Tensor[], numbers: readonly number[]): Tensor[] {
    return this.#run(inputs, numbers)
  }
}

const isTrue = (t: Tensor): boolean => Number(t.dataSync()[0]) !== 0

const branch =
  (whenTrue: Run, whenFalse: Run): Run =>
  (inputs, numbers) =>
    (isTrue(inputs[0]!) ? whenTrue : whenFalse)(inputs, numbers)

const loop =
  (condition: Run, body: Run, stateCount: number): Run =>
  (inputs, numbers) => {
    const outside = inputs.slice(stateCount)
    let state = inputs.slice(0, stateCount)
    let hasRun = false
    while (isTrue(condition([...state, ...outside], numbers)[0]!)) {
      state = body([...state, ...outside], numbers)
      hasRun = true
    }
    // The first state lies in memory that the program uses for other things, too.
    return hasRun ? state : state.map((t) => engine().clone(t))
  }
