/** @file Why a compiled function was traced, each time. */
import { isRecording } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { Assumption } from './trace.ts'

/** What a program was made for. */
interface Known {
  readonly form: string
  readonly assumptions: readonly Assumption[]
}

/** Reasons beyond this many: the oldest go. */
const reasonLimit = 100

export class TraceHistory {
  /** The latest last. */
  readonly reasons: string[] = []
  #count = 0
  #last: { readonly tensors: readonly string[]; readonly records: boolean } | undefined

  /** How often it was traced. */
  get count(): number {
    return this.#count
  }

  /** Adds why a call with these arguments is traced, though the programs in `known` are there. */
  add(tensors: readonly Tensor[], form: string, known: readonly Known[]): string {
    const now = { tensors: tensors.map(describe), records: isRecording() }
    const reason = this.#reason(now, known.findLast((x) => x.form === form)?.assumptions)
    this.#last = now
    this.#count++
    this.#note(reason)
    return reason
  }

  /** Adds that the call of the latest reason is traced once more, at other sizes. */
  again(): void {
    this.#count++
    this.#note('once more at other sizes, to tell what depends on them')
  }

  #note(reason: string): void {
    this.reasons.push(reason)
    if (this.reasons.length > reasonLimit) this.reasons.shift()
  }

  #reason(
    { tensors, records }: { readonly tensors: readonly string[]; readonly records: boolean },
    assumptions: readonly Assumption[] | undefined,
  ): string {
    const last = this.#last
    if (last === undefined) return 'the first call'
    const broken = assumptions?.find(({ read, value }) => !Object.is(read(), value))
    if (broken !== undefined) return `something outside changed: ${change(broken)}`
    if (assumptions !== undefined) return 'its program had been given up'
    if (last.records !== records) return `gradients are ${records ? '' : 'not '}recorded now`
    const changed = tensors.flatMap((text, i) =>
      text === last.tensors[i]
        ? []
        : `tensor ${i} of the arguments was ${last.tensors[i] ?? 'not there'}, is ${text}`,
    )
    return changed[0] === undefined || tensors.length !== last.tensors.length
      ? 'the arguments have another structure, or other values beside their tensors'
      : changed.join('; ')
  }
}

const describe = ({ dtype, shape, device, requiresGrad }: Tensor): string =>
  `${dtype} [${shape.join(', ')}] on ${device}${requiresGrad ? ', requiring a gradient' : ''}`

/** What is read is shown as its source text, which is the best name that it has. */
function change({ read, value }: Assumption): string {
  const source = String(read).replace(/^\(\)\s*=>\s*/, '')
  const now = read()
  const isShort = (x: unknown) => typeof x !== 'object' && typeof x !== 'function'
  return isShort(value) && isShort(now) ? `${source} was ${value}, is ${now}` : source
}
