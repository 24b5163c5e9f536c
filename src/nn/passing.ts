/** @file Tensors that only pass from one layer to the next: who may free them, and when. */
import { operators } from '../ops/define.ts'
import { dispatchOnto } from '../tensor/dispatch.ts'
import type { Op } from '../tensor/op.ts'
import { leaveToTape } from '../tensor/tape.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { Layer } from './module.ts'

/**
 * Note [Passing]: what a layer of a chain gives the next is in nobody else's hands when both layers keep
 * neither what they get nor what they make. Its memory then belongs to the tape alone, and is free with
 * the last entry that saved it, or at once when none did: activations need not wait for the collector.
 * Whether a layer keeps anything is a property of the function that runs, so that is what is asked, at
 * each call: a subclass that overrides `forward`, hooks, and functions put on an instance or a prototype
 * are other functions, of which nothing is known. Of a block that a known layer returned new, nobody
 * holds a tensor then but the chain: views and what comes back unchanged have the block of their input.
 * An activation may even write over such a block, unless the tape saved it.
 */
const known = new WeakSet<Layer['forward']>()
/** Those that run one elementwise op, which can write over what only passes. */
const single = new WeakMap<Layer['forward'], Op>()

/** States that the `forward` of these classes keeps neither its input nor its output. */
export function keepsNothing(...classes: readonly { readonly prototype: Layer }[]): void {
  for (const { prototype } of classes) known.add(prototype.forward)
}

/** States that the `forward` of a class is this op, and nothing else. */
export function runsOnly({ prototype }: { readonly prototype: Layer }, name: string): void {
  single.set(prototype.forward, operators.get(name)!)
}

/** Runs layers one after the other. */
export function runChain(layers: readonly Layer[], x: Tensor): Tensor {
  let isOurs = false
  for (const layer of layers) {
    const { forward } = layer
    const isKnown = known.has(forward)
    const op: Op | undefined = isOurs ? single.get(forward) : undefined
    const y: Tensor = op === undefined ? forward.call(layer, x) : dispatchOnto(op, x)
    const isNew = y.storage !== x.storage
    if (isKnown && isNew && isOurs) leaveToTape(x)
    isOurs = isKnown && (isNew || isOurs)
    x = y
  }
  return x
}
