/** @file What happens to those who read memory after it was freed. */
import { ValueError } from '../util/errors.ts'

/** The error of an operation on a tensor whose memory was handed back. */
export function freedError(): ValueError {
  return new ValueError(
    'this tensor was freed (by dispose(), by using, or at the end of tidy()) and cannot be read any more. Return it from tidy(), or dispose it later',
  )
}
