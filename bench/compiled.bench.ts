/**
 * @file What compile() makes of whole steps: training of an MLP, a CNN, ResNet-18 and a GPT, inference of BERT, a
 * chain of elementwise operations; and what compiling and memory cost.
 */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onnxBert } from './bert.ts'
import type { Case, Contender, Setup } from './harness.ts'
import { fillParameters, makeBert } from './models.ts'
import { jaxMlp, tfjsMlp } from './mlp-peers.ts'
import { ORT, ortContender } from './ort.ts'
import { JAX, TFJS } from './peers.ts'
import type { Figure } from './report.ts'
import { settings, threadsText } from './settings.ts'
import {
  tandemSteps,
  torchStepMemory,
  torchSteps,
  trainingCases,
  type TrainingName,
} from './steps.ts'
import { loadTandem, tandemContender, tensorOf, type Tensor } from './tandem.ts'
import { TORCH, TORCH_COMPILED, torchContender } from './torch.ts'
import { values } from './values.ts'

const BERT = { batch: 1, tokens: 128, layers: settings.quick ? 2 : 12, width: 768, heads: 12 }
const CHAIN = 4_000_000
/** Long cases have few rounds. */
const LONG = { warmUpSeconds: 0, rounds: 5 }

const training = (
  name: TrainingName,
  plan: Case['plan'] = {},
  peers: Case['contenders'] = {},
): Case => ({
  name: `${trainingCases[name].name}, ${threadsText()}`,
  unit: 'ms',
  better: 'lower',
  work: trainingCases[name].steps,
  plan,
  group: 'training',
  contenders: {
    tandem: tandemSteps(name, true),
    'tandem, eager': tandemSteps(name),
    [TORCH]: torchSteps(name),
    [TORCH_COMPILED]: torchSteps(name, true),
    ...peers,
  },
})

export const cases: Case[] = [
  // They train nothing else: tfjs' WebAssembly has no gradient of a convolution's weight, jax-js no layers.
  training('mlp', {}, { [TFJS]: tfjsMlp, [JAX]: jaxMlp }),
  training('cnn'),
  training('resnet18', LONG),
  training('gpt', LONG),
  {
    name: `BERT ${BERT.layers} x ${BERT.width}, batch ${BERT.batch} x ${BERT.tokens}, inference, ${threadsText()}`,
    unit: 'ms',
    better: 'lower',
    work: 1,
    plan: LONG,
    contenders: {
      tandem: tandemBert(true),
      'tandem, eager': tandemBert(false),
      [TORCH]: torchContender('bert', BERT),
      [TORCH_COMPILED]: torchContender('bert', { ...BERT, compiled: true }),
      [ORT]: ortContender(
        () => onnxBert(BERT),
        () => values(BERT.batch * BERT.tokens * BERT.width, 1),
      ),
    },
  },
  {
    name: `chain of 10 elementwise operations, ${CHAIN} floats, ${threadsText()}`,
    unit: 'ms',
    better: 'lower',
    work: 1,
    contenders: {
      tandem: tandemChain(true),
      'tandem, eager': tandemChain(false),
      [TORCH]: torchContender('chain', { count: CHAIN }),
      [TORCH_COMPILED]: torchContender('chain', { count: CHAIN, compiled: true }),
    },
  },
  {
    // The chain reads two operands and writes one; a copy reads one. Both free their results at once: memory that
    // has not been touched for long is slow to write, whoever writes it.
    name: `the same chain beside a copy that moves as many bytes, ${threadsText()}`,
    unit: 'ms',
    better: 'lower',
    work: 1,
    contenders: {
      tandem: tandemChain(true, { frees: true }),
      'a copy by torch': unsampled(torchContender('copy', { count: (CHAIN * 3) / 2 })),
    },
  },
]

function tandemBert(isCompiled: boolean): Setup {
  return async () => {
    const tandem = await loadTandem()
    const model = makeBert(tandem, BERT)
    fillParameters(tandem, model)
    model.eval()
    const x = tensorOf(tandem, [BERT.batch, BERT.tokens, BERT.width], 1)
    const forward = (input: Tensor) => tandem.noGrad(() => model.forward(input))
    const run = isCompiled ? tandem.compile(forward, { name: 'bert' }) : forward
    return tandemContender(() => run(x))
  }
}

function tandemChain(isCompiled: boolean, options?: { readonly frees: boolean }): Setup {
  return async () => {
    const tandem = await loadTandem()
    const [a, b] = [1, 2].map((seed) => tensorOf(tandem, [CHAIN], seed)) as [Tensor, Tensor]
    const run = isCompiled ? tandem.compile(chain) : chain
    return tandemContender(() => run(a, b), options)
  }
}

/** Ten operations, of which several read one result. */
function chain(a: Tensor, b: Tensor): Tensor {
  const x = a.mul(2).add(b).maximum(0).sub(0.5)
  return x.mul(b).sub(a).abs().minimum(0.75).mul(x).add(a)
}

function unsampled(setup: Setup): Setup {
  return async () => {
    const { sample: _, ...contender } = await setup()
    return contender as Contender
  }
}

// -- figures, each of a process of its own

interface StepReport {
  /** Milliseconds of tracing and compiling. */
  readonly made: number
  readonly first: number
  readonly later: number
  readonly bytes: number
}

/** Measures anew what `npm run -s bench -- compiled` prints before its cases. */
export function figures(): Promise<Figure[]> {
  if (!existsSync('/proc/self/status')) return Promise.resolve([])
  return Promise.resolve((['resnet18', 'gpt'] as const).flatMap(figuresOf))
}

function figuresOf(name: TrainingName): Figure[] {
  const cache = mkdtempSync(join(tmpdir(), 'tandem-bench-'))
  const { made, first, later, bytes } = inProcess(name, cache)
  const again = inProcess(name, cache)
  rmSync(cache, { recursive: true })
  const torch = torchStepMemory(name)
  const figure = (what: string, unit: string, value: number): Figure => ({
    name: `${name} step: ${what}`,
    unit,
    value,
  })
  return [
    figure('tracing and compiling, cold', 'ms', made),
    figure('tracing and compiling, machine code kept by an earlier process', 'ms', again.made),
    figure('first step over a later one, cold', 'ms', first - later),
    figure('first step over a later one, machine code kept', 'ms', again.first - again.later),
    figure('peak memory above idle', 'MB', bytes / 1e6),
    ...(torch === undefined
      ? []
      : [
          figure(`peak memory above idle, ${TORCH}`, 'MB', torch / 1e6),
          figure(`peak memory, ${TORCH} over tandem`, 'x', torch / bytes),
        ]),
  ]
}

function inProcess(name: TrainingName, cache: string): StepReport {
  const program = join(import.meta.dirname, 'step-process.js')
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [program, name, settings.quick ? 'quick' : 'full'],
    { encoding: 'utf8', env: { ...process.env, TANDEM_CACHE: cache } },
  )
  if (status !== 0) throw new Error(`step-process ${name} failed:\n${stderr}`)
  return JSON.parse(stdout) as StepReport
}
