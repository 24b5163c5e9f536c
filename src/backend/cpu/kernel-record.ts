/** @file A compiled kernel as bytes: what there is to know about the code as JSON, and the code. */
import type { ShareData } from '../../target/x86/share.ts'
import type { Compiled } from './executable.ts'

/** A kernel as far as it is data. */
export interface KernelRecord extends Omit<Compiled, 'share' | 'streamingCode'> {
  readonly share: ShareData | undefined
}

const prefix = 4

/** The kernel as `unpackKernel` reads it. */
export function packKernel({ code, ...about }: KernelRecord): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(about))
  const bytes = new Uint8Array(prefix + json.length + code.length)
  new DataView(bytes.buffer).setUint32(0, json.length, true)
  bytes.set(json, prefix)
  bytes.set(code, prefix + json.length)
  return bytes
}

/** Takes `packKernel` back. The bytes must be what that made: whoever keeps them has checked it. */
export function unpackKernel(bytes: Uint8Array): KernelRecord {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)
  const json = new TextDecoder().decode(bytes.subarray(prefix, prefix + length))
  const about = JSON.parse(json) as Omit<KernelRecord, 'code'>
  return { ...about, share: about.share, code: bytes.subarray(prefix + length) }
}
