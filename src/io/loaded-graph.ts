/** @file A saved graph, ready to run: programs made from data, on the backend of what they are given. */
import type { Backend } from '../backend/backend.ts'
import { runPasses } from '../compile/passes.ts'
import { Program } from '../compile/program.ts'
import { Buffer } from '../tensor/cell.ts'
import { engine } from '../tensor/engine.ts'
import { defaultGenerator } from '../tensor/random.ts'
import { noGrad } from '../tensor/tape.ts'
import { Tensor } from '../tensor/tensor.ts'
import { tracing } from '../tensor/tracing.ts'
import {
  DeviceError,
  DTypeError,
  ShapeError,
  UnsupportedError,
  ValueError,
} from '../util/errors.ts'
import type { ReadSignature, SizedSignature, SizeText, TensorSpec } from './graph-document.ts'

export type { SizeText, TensorSpec } from './graph-document.ts'

/** What a function of a saved graph takes and returns. */
export interface SignatureInfo {
  /** By name, in the order of the function that was saved. */
  readonly inputs: Readonly<Record<string, TensorSpec>>
  /** What is returned, with a spec in the place of each tensor, a formula where a number depends on sizes. */
  readonly outputs: unknown
}

/** Programs beyond this many, of all functions and sizes: the one not used for longest goes. */
const programLimit = 32

/** A function for some sizes of its axes, on a backend. */
interface SizedProgram {
  readonly key: string
  readonly program: Program
  readonly result: SizedSignature['result']
}

/**
 * A graph that `loadGraph` has read: functions without source.
 *
 * @example
 * const bytes = await io.graphToBytes(new nn.Linear(2, 1), { predict: { inputs: { x: { shape: [4, 2] } } } })
 * const graph = await io.loadGraph(bytes)
 * graph.signatures['predict'].outputs // -> { shape: [4, 1], dtype: 'float32' }
 * Object.keys(graph.weights) // -> ['weight', 'bias']
 */
export class LoadedGraph {
  /** What can be run, by name. */
  readonly signatures: Readonly<Record<string, SignatureInfo>>
  /** The tensors that the functions share, by name. */
  readonly weights: Readonly<Record<string, Tensor>>
  readonly #slots: readonly Tensor[]
  readonly #read: ReadonlyMap<string, ReadSignature>
  readonly #cells = new Map<Backend, readonly Buffer[]>()
  readonly #programs: SizedProgram[] = []
  readonly #backend: Backend

  /** `weights` are in the order of their slots, on the backend given. */
  constructor(
    read: ReadonlyMap<string, ReadSignature>,
    weights: ReadonlyMap<string, Tensor>,
    backend: Backend,
  ) {
    this.#read = read
    this.weights = Object.fromEntries(weights)
    this.#slots = [...weights.values()]
    this.#backend = backend
    this.signatures = Object.fromEntries([...read].map(([name, x]) => [name, describe(x)]))
  }

  /**
   * Runs a function on tensors by name, without gradients, and gives what it returned when it was
   * saved. It runs where its inputs are. Throws a ValueError for a name that is missing or unknown, a
   * ShapeError or DTypeError for an input that is not as in `signatures`.
   *
   * @example
   * const graph = await io.loadGraph(await io.graphToBytes(new nn.ReLU(), { predict: { inputs: { x: { shape: [3] } } } }))
   * graph.run('predict', { x: tensor([-1, 0, 2]) }) // -> tensor([0, 0, 2], float32, cpu)
   */
  run<Result = Tensor>(name: string, inputs: Readonly<Record<string, Tensor>>): Result {
    const signature = this.#read.get(name)
    if (signature === undefined)
      throw new ValueError(
        `run: there is no signature '${name}'. Expected one of ${[...this.#read.keys()].join(', ')}`,
      )
    if (tracing !== undefined)
      throw new UnsupportedError(
        `run: a loaded graph cannot become a part of another program. Call '${name}' outside of the compiled function`,
      )
    const { tensors, sizes } = checkInputs(name, signature, inputs)
    const backend = backendOf(tensors) ?? this.#backend
    const { program, result } = this.#program(name, signature, sizes, backend)
    const outputs = noGrad(() => program.run(tensors.map((t) => engine().contiguous(t))))
    return result((i) => outputs[i]!) as Result
  }

  #program(
    name: string,
    signature: ReadSignature,
    sizes: readonly number[],
    backend: Backend,
  ): SizedProgram {
    const key = `${name}|${sizes.join()}`
    const known = this.#programs.findIndex((x) => x.key === key && x.program.backend === backend)
    const found = known < 0 ? undefined : this.#programs.splice(known, 1)[0]
    const sized = found ?? { ...this.#make(name, signature, sizes, backend), key }
    this.#programs.push(sized)
    if (this.#programs.length > programLimit) this.#programs.shift()!.program.release()
    return sized
  }

  #make(name: string, signature: ReadSignature, sizes: readonly number[], backend: Backend) {
    const { graph, draws, result } = sizedFor(name, signature, sizes)
    const states = this.#weightsOn(backend).map((cell) => ({ kind: 'cell', cell }) as const)
    const actions = draws.map((count, i) => ({
      kind: 'numbers' as const,
      slot: 4 * i,
      count: 4,
      compute: () => defaultGenerator.draw(count),
      sizes: [],
    }))
    const numberCount = 4 * draws.length
    // As compile() has it, so that the same bits come out.
    const trace = { states, grads: [], actions, numberCount }
    return { program: new Program(backend, runPasses(graph), trace), result }
  }

  #weightsOn(backend: Backend): readonly Buffer[] {
    let cells = this.#cells.get(backend)
    if (cells === undefined) {
      cells = this.#slots.map((t) => new Buffer(t.to(backend.name)))
      this.#cells.set(backend, cells)
    }
    return cells
  }
}

function sizedFor(name: string, signature: ReadSignature, sizes: readonly number[]) {
  try {
    return signature.at(sizes)
  } catch (error) {
    const given = signature.axes.map((axis, i) => `${axis} = ${sizes[i]}`).join(', ')
    throw new ShapeError(
      `run: '${name}' cannot be computed for ${given}: ${(error as Error).message}`,
      { cause: error },
    )
  }
}

const describe = ({ inputs, returns }: ReadSignature): SignatureInfo => ({
  inputs: Object.fromEntries(inputs),
  outputs: returns,
})

/** The inputs in order, and the sizes of the axes. */
function checkInputs(
  name: string,
  { inputs: wanted, axes }: ReadSignature,
  inputs: Readonly<Record<string, Tensor>>,
): { tensors: Tensor[]; sizes: number[] } {
  const where = `run: '${name}'`
  const expected = `Expected ${[...wanted].map(([key, x]) => `${key}: ${text(x)}`).join(', ') || 'none'}`
  if (typeof inputs !== 'object' || inputs === null || inputs instanceof Tensor)
    throw new ValueError(`${where}: inputs go by their names. ${expected}`)
  const unknown = Object.keys(inputs).find((key) => !wanted.has(key))
  if (unknown !== undefined)
    throw new ValueError(`${where}: there is no input '${unknown}'. ${expected}`)
  const sizes = new Map<SizeText, number>()
  const fits = (size: SizeText, n: number) => {
    if (typeof size === 'number') return size === n
    if (!sizes.has(size)) sizes.set(size, n)
    return sizes.get(size) === n
  }
  const tensors = [...wanted].map(([key, spec]) => {
    const given = Object.hasOwn(inputs, key) ? inputs[key] : undefined
    if (!(given instanceof Tensor))
      throw new ValueError(
        `${where}: input '${key}' is ${given === undefined ? 'missing' : `of type ${typeof given}`}. ${expected}`,
      )
    const { shape } = given
    const isSame =
      shape.length === spec.shape.length && shape.every((n, i) => fits(spec.shape[i]!, n))
    if (isSame && given.dtype === spec.dtype) return given
    const known = [...sizes].map(([axis, n]) => `${axis} = ${n}`).join(', ')
    throw new (isSame ? DTypeError : ShapeError)(
      `${where}: input '${key}' is ${text(given)}. Expected ${text(spec)}${isSame ? `; cast it: ${key}.cast('${spec.dtype}')` : known && ` with ${known}`}`,
    )
  })
  return { tensors, sizes: axes.map((axis) => sizes.get(axis)!) }
}

const text = ({ dtype, shape }: TensorSpec) => `${dtype} [${shape.join(', ')}]`

function backendOf(tensors: readonly Tensor[]): Backend | undefined {
  const other = tensors.find((t) => t.backend !== tensors[0]!.backend)
  if (other === undefined) return tensors[0]?.backend
  throw new DeviceError(
    `run: inputs on ${tensors[0]!.device} and ${other.device}. Move them to one device: x.to('${tensors[0]!.device}')`,
  )
}
