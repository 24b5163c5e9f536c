/** @file checkpoint(): a part of a network that is computed a second time for its gradient, to save memory. */
import { tensorsIn, unscoped } from '../tensor/scope.ts'
import { enableGrad, freeUnheld, isRecording, watcher, withWatcher } from '../tensor/tape.ts'
import type { GradNode, Recall, TapeWatcher } from '../tensor/tape.ts'
import { noteNumbers, replayNumbers, tracing } from '../tensor/tracing.ts'
import { GradError } from '../util/errors.ts'

/**
 * Runs `fn` on `args` without keeping what its gradient will read: backward() runs it once more instead,
 * with the same random draws. This trades time for memory, as `torch.utils.checkpoint` does. In a
 * compiled function the second run is a part of the backward pass.
 *
 * The function must do the same both times. What it changes outside, such as running statistics, changes
 * once. Tensors that it computes with should be arguments, or parameters; those may not change before
 * backward(). Throws a GradError for gradients of gradients.
 *
 * @example
 * const block = new nn.Sequential(new nn.Linear(4, 16), new nn.ReLU(), new nn.Linear(16, 4))
 * const x = ones([2, 4]).requireGrad()
 * checkpoint((h: Tensor) => block.forward(h), x).sum().backward()
 * x.grad.shape // -> [2, 4]
 */
export function checkpoint<Args extends unknown[], R>(fn: (...args: Args) => R, ...args: Args): R {
  // Within another that runs for the first time it is a part of that one.
  if (!isRecording() || watcher instanceof Segment) return fn(...args)
  const result = new Segment(() => fn(...args), args).run()
  if (result instanceof Promise)
    throw new GradError(
      'checkpoint: the function returned a promise, but is run again by backward, which cannot wait. Keep await outside',
    )
  return result as R
}

/** A part of the program that is run twice. Its entries on the tape ask it for what they have not saved. */
class Segment implements TapeWatcher {
  readonly #body: () => unknown
  readonly #args: readonly unknown[]
  /** The one around it, which this one is run again in. */
  readonly #outer = watcher
  readonly #numbers: (readonly number[])[] = []
  readonly #names: string[] = []
  #nodes: readonly GradNode[] | undefined
  #waiting = 0

  constructor(body: () => unknown, args: readonly unknown[]) {
    this.#body = body
    this.#args = args
  }

  run(): unknown {
    const result = withWatcher(this, () => noteNumbers(this.#numbers, this.#body))
    if (this.#waiting > 0) this.#hold(1)
    return result
  }

  enter(node: GradNode): Recall {
    this.#outer?.enter(node)
    const index = this.#names.push(node.op.name) - 1
    this.#waiting++
    return {
      node: () => (this.#nodes ??= this.#again())[index]!,
      release: () => {
        this.#nodes?.[index]!.release()
        if (--this.#waiting > 0) return
        this.#nodes = undefined
        this.#hold(-1)
      },
    }
  }

  #hold(by: number): void {
    for (const t of tensorsIn(this.#args)) {
      t.storage.saves += by
      if (by < 0) freeUnheld(t)
    }
  }

  #again(): readonly GradNode[] {
    if (isRecording())
      throw new GradError(
        'checkpoint: gradients of gradients through a checkpoint. Run the function without it',
      )
    const nodes: GradNode[] = []
    const collector: TapeWatcher = {
      enter(node) {
        nodes.push(node)
        return undefined
      },
    }
    const run = () =>
      enableGrad(() => withWatcher(collector, () => replayNumbers(this.#numbers, this.#body)))
    unscoped(() => (tracing === undefined ? run() : tracing.again(run)))
    const names = nodes.map((node) => node.op.name)
    if (names.join() !== this.#names.join())
      throw new GradError(
        `checkpoint: the function did something else when it was run again: first ${this.#names.join(', ')}, then ${names.join(', ')}. It must do the same each time`,
      )
    return nodes
  }
}
