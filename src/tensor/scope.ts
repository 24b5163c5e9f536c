/** @file Scopes that free the blocks made inside them: for the gradient machinery, and for `tidy`. */
import type { Backend, Block } from '../backend/backend.ts'
import type { Tensor } from './tensor.ts'

interface Scope {
  readonly backend: Backend[]
  readonly blocks: Block[]
}

let current: Scope | undefined

/** Notes a new block; called by whoever allocates. */
export function noteBlock(backend: Backend, block: Block): void {
  if (current === undefined) return
  current.backend.push(backend)
  current.blocks.push(block)
}

/** Runs `body`; afterwards frees the blocks made in it, except those `keep` holds on to. */
export function scoped<T>(body: () => T, keep: (block: Block, result: T) => boolean): T {
  const outer = current
  const scope: Scope = { backend: [], blocks: [] }
  current = scope
  try {
    const result = body()
    current = outer
    for (let i = 0; i < scope.blocks.length; i++) {
      const block = scope.blocks[i]!
      if (!keep(block, result)) scope.backend[i]!.free(block)
      else noteBlock(scope.backend[i]!, block)
    }
    return result
  } finally {
    current = outer
  }
}

/** Runs `body` outside any scope: nothing it makes is freed. */
export function unscoped<T>(body: () => T): T {
  const outer = current
  current = undefined
  try {
    return body()
  } finally {
    current = outer
  }
}

/**
 * Runs `body` and frees every tensor made inside it, except those in the result (a tensor, or arrays
 * and objects of tensors) and those the tape still needs. Nobody has to call this; it frees earlier.
 *
 * @example
 * tidy(() => tensor([1, 2]).mul(3).sum()) // -> tensor(9, float32, wasm)
 */
export function tidy<T>(body: () => T): T {
  let kept: Set<Block> | undefined
  return scoped(body, (block, result) => {
    kept ??= new Set(blocksIn(result))
    return kept.has(block) || block.saves > 0 || block.pending > 0
  })
}

function blocksIn(value: unknown, seen = new Set<unknown>()): Block[] {
  if (typeof value !== 'object' || value === null || seen.has(value)) return []
  if ('storage' in value && 'layout' in value) return [(value as Tensor).storage]
  seen.add(value)
  return Object.values(value).flatMap((v) => blocksIn(v, seen))
}
