/** @file Rows of changes of dtype and of copies. */
import * as tandem from 'tandem'
import { DeviceError, DTypeError, ones, type DType, type Tensor } from 'tandem'
import { dtypes } from '../../src/core/dtype.ts'
import { elementwise, type PlainArray } from './plain.ts'
import { all, floats, type Row } from './row.ts'

const x = ones([2])
const same = (a: PlainArray) => a

/** Out of range, numbers stop at the ends of int32 and then wrap into the smaller types. */
const clamped = (v: number) => Math.min(Math.max(Math.trunc(v), -(2 ** 31)), 2 ** 31 - 1)
const converted =
  (to: DType) =>
  (v: number): number => {
    if (to === 'bool') return Number(v !== 0)
    if (dtypes[to].kind === 'float') return v
    return Number.isNaN(v) ? 0 : to === 'int64' ? Math.trunc(v) : clamped(v)
  }

const castRow = (to: DType): Row => ({
  op: 'cast',
  note: `to ${to}`,
  call: (a: Tensor) => a.cast(to),
  reference: elementwise(converted(to)),
  dtypes: all,
  result: () => to,
  // To its own dtype a tensor is cast for nothing.
  view: true,
  // The tape casts gradients back: see cast.test.ts. Differences of rounded values show nothing.
  grad: false,
  tolerance: { float64: dtypes[to].kind === 'int' ? 0 : 2e-14 },
  samples: [
    { inputs: [[3, 5]] },
    { inputs: [{ shape: [37], low: -300, high: 300 }] },
    { inputs: [[]] },
    { inputs: [[0, 3]] },
    {
      inputs: [{ shape: [7], values: [NaN, Infinity, -Infinity, 3e9, -3e9, -0.9, 70000] }],
      dtypes: to === 'int64' ? [] : floats.slice(0, 2),
    },
  ],
})

export const rows: Row[] = [
  ...all.map(castRow),
  {
    op: 'cast',
    note: 'errors',
    call: (a: Tensor) => a.cast('float64'),
    samples: [{ inputs: [[3]] }],
    result: () => 'float64',
    view: true,
    errors: [
      {
        what: 'an unknown dtype',
        call: () => x.cast('float8' as never),
        error: DTypeError,
        message: /cast: unknown dtype "float8"\. Expected one of bool, /,
      },
    ],
  },
  {
    op: 'clone',
    covers: ['copy'],
    call: tandem.clone,
    reference: same,
    dtypes: all,
    samples: [{ inputs: [[3, 5]] }, { inputs: [[]] }, { inputs: [[0, 3]], grad: false }],
  },
  {
    op: 'contiguous',
    call: tandem.contiguous,
    reference: same,
    dtypes: all,
    view: true,
    samples: [{ inputs: [[3, 5]] }, { inputs: [[]] }, { inputs: [[0, 3]], grad: false }],
  },
  {
    op: 'to',
    call: (a: Tensor) => a.to('reference').to(a.device),
    reference: same,
    dtypes: all,
    view: true,
    grad: false,
    eagerOnly: 'a program stays on one device',
    samples: [{ inputs: [[3, 5]] }, { inputs: [[]] }, { inputs: [[0, 3]] }],
    errors: [
      {
        what: 'an unknown device',
        call: () => x.to('abacus'),
        error: DeviceError,
        message: /unknown backend 'abacus'\. Available here: (cpu, )?wasm, /,
      },
    ],
  },
]
