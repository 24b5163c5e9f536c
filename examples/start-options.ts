/** @file The command line of `npm start`. */
import { parseArgs } from 'node:util'

export interface StartOptions {
  readonly data: string | undefined
  readonly download: boolean
  readonly model: 'mlp' | 'cnn'
  readonly style: 'pytorch' | 'keras'
  readonly epochs: number
  readonly batchSize: number
  readonly lr: number
  readonly seed: number
  readonly backend: string | undefined
  readonly save: string
}

/** A command line that makes no sense; the message is for its author. */
export class UsageError extends Error {}

export const help = `Trains a digit classifier, saves it, loads it again and shows what it learnt.

  npm start -- [options]

  --data FOLDER      the folder with the original MNIST files, gzipped or not
                     (default: the cache, else digits drawn in code)
  --download         fetch MNIST from its official mirrors into the cache
  --model NAME       mlp (784-128-10) or cnn (two convolutions)      (default: mlp)
  --style NAME       pytorch (a loop) or keras (compile and fit)     (default: pytorch)
  --epochs N         passes over the training data                   (default: 5, of cnn 3)
  --batch-size N     images per step                                 (default: 64)
  --lr X             first learning rate of Adam; it falls by epoch  (default: 0.004)
  --seed N           decides weights and orders                      (default: 0)
  --backend NAME     where the kernels run: cpu, wasm or reference
                     (default: cpu, which is machine code, where it can run, else wasm)
  --save PATH        where the model is saved, a .json beside it     (default: model.safetensors)
  --help             show this
`

/** The options of a command line, or 'help'. Throws a UsageError for anything unknown. */
export function readOptions(args: readonly string[]): StartOptions | 'help' {
  const text = parse(args)
  if (text.help === true) return 'help'
  const model = oneOf('model', text.model, ['mlp', 'cnn'])
  return {
    data: text.data,
    download: text.download ?? false,
    model,
    style: oneOf('style', text.style, ['pytorch', 'keras']),
    epochs: whole('epochs', text.epochs ?? (model === 'mlp' ? '5' : '3'), 1),
    batchSize: whole('batch-size', text['batch-size'], 1),
    lr: positive('lr', text.lr),
    seed: whole('seed', text.seed, 0),
    backend: text.backend,
    save: text.save,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        data: { type: 'string' },
        download: { type: 'boolean' },
        model: { type: 'string', default: 'mlp' },
        style: { type: 'string', default: 'pytorch' },
        epochs: { type: 'string' },
        'batch-size': { type: 'string', default: '64' },
        lr: { type: 'string', default: '0.004' },
        seed: { type: 'string', default: '0' },
        backend: { type: 'string' },
        save: { type: 'string', default: 'model.safetensors' },
        help: { type: 'boolean' },
      },
    }).values
  } catch (error) {
    // What follows the first sentence is advice on positional arguments.
    throw new UsageError((error as Error).message.split('. ')[0])
  }
}

function oneOf<T extends string>(name: string, value: string, known: readonly T[]): T {
  const found = known.find((one) => one === value)
  if (found === undefined)
    throw new UsageError(`--${name} is '${value}'. Expected ${known.join(' or ')}`)
  return found
}

function whole(name: string, text: string, least: number): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < least)
    throw new UsageError(`--${name} is '${text}'. Expected a whole number of at least ${least}`)
  return value
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isFinite(value) || value <= 0)
    throw new UsageError(`--${name} is '${text}'. Expected a number above 0`)
  return value
}
