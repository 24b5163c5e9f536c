/** @file Moving tensors between backends. */
import { getBackend } from '../backend/backend.ts'
import { dtypes } from '../core/dtype.ts'
import { layoutOf } from '../core/layout.ts'
import { noteBlock } from '../tensor/scope.ts'
import { Tensor } from '../tensor/tensor.ts'
import { DeviceError } from '../util/errors.ts'
import { checkTensor } from './define.ts'

/**
 * The same values on another backend, without history; the tensor itself if it is already there.
 * Throws a DeviceError for an unknown backend or a dtype (for those there is `cast`), or when this one cannot be read synchronously.
 *
 * @example
 * to(tensor([1, 2]), 'reference') // -> tensor([1, 2], float32, reference)
 */
export function to(x: Tensor, device: string): Tensor {
  checkTensor('to', 'x', x)
  if (device in dtypes)
    throw new DeviceError(
      `to: '${device}' is a dtype, and to() moves between backends. Cast instead: x.cast('${device}')`,
    )
  const backend = getBackend(device)
  // By name, as a traced tensor stands for one there.
  if (backend.name === x.device) return x
  if (!x.backend.synchronous)
    throw new DeviceError(
      `to: ${x.device} cannot be read synchronously. Use tensor(await t.data(), { device: '${device}' })`,
    )
  const source = x.contiguous()
  const { bytes } = dtypes[x.dtype]
  const raw = x.backend.read(source.storage, source.offset * bytes, source.size * bytes)
  const storage = backend.allocate(Math.max(raw.length, 1))
  noteBlock(backend, storage)
  backend.write(storage, raw)
  return new Tensor(storage, layoutOf(x.shape), 0, x.dtype, backend)
}
