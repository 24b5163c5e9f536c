/** @file Kernels that are alike, as those of equal layers, are fused as the first two of their kind were. */
import type { Group } from '../ir/group.ts'
import type { FuseInto } from './fuse.ts'
import { joined } from './fuse-merge.ts'
import type { ScheduledKernel } from './schedule.ts'

type Outcome =
  | { readonly kind: 'refused'; readonly reason: string | undefined }
  | {
      readonly kind: 'fused'
      readonly made: Pick<ScheduledKernel, 'step' | 'contracts'>
      /** Which of the operands of both, the producer's first, each of its operands is. */
      readonly from: readonly number[]
    }

/**
 * Fusion that remembers. What becomes of two kernels follows from their groups, from what their calls are, and from
 * which of their operands are the same buffer; so where these recur, the same group comes out, and what is fused
 * with that later is recognised in turn.
 */
export function remembered(fuse: FuseInto): FuseInto {
  const outcomes = new Map<string, Outcome>()
  const numbers = new Map<Group, number>()
  const numberOf = (group: Group): number => {
    let number = numbers.get(group)
    if (number === undefined) numbers.set(group, (number = numbers.size))
    return number
  }
  const textOf = ({ step: { group }, node, contracts }: ScheduledKernel) =>
    `${numberOf(group)}${node.op.kind}${contracts}`

  return (producer, consumer, buffer, result, refuse, inner) => {
    const operands = [...producer.operands, ...consumer.operands]
    let key = `${textOf(producer)} ${textOf(consumer)} ${result}`
    for (const x of operands) {
      const first = operands.findIndex((other) => other.buffer === x.buffer)
      key += ` ${first}+${x.offset}${x.buffer === buffer ? '!' : ''}${inner.has(x.buffer) ? '-' : ''}`
    }
    let outcome = outcomes.get(key)
    if (outcome === undefined) {
      let reason: string | undefined
      const note = (text: string) => {
        reason = text
        return undefined
      }
      const fused = fuse(producer, consumer, buffer, result, note, inner)
      outcome =
        fused === undefined
          ? { kind: 'refused', reason }
          : {
              kind: 'fused',
              made: { step: fused.step, contracts: fused.contracts! },
              from: fused.operands.map((x) =>
                operands.findIndex((y) => y.buffer === x.buffer && y.offset === x.offset),
              ),
            }
      outcomes.set(key, outcome)
    }
    if (outcome.kind === 'refused')
      return outcome.reason === undefined ? undefined : refuse(outcome.reason)
    const { made, from } = outcome
    return {
      ...joined(producer, consumer),
      ...made,
      operands: from.map((i) => operands[i]!),
    }
  }
}
