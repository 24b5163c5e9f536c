/** @file Loads the libraries Tandem is measured against from bench/node_modules, one thread each. */

import { createRequire } from 'node:module'
import { dirname, join, sep } from 'node:path'
import { NotInstalled } from './harness.ts'
import type { JaxModule, TfModule, TfWasmModule } from './peer-types.ts'

/** The peers' names in results; the versions are those of bench/package.json. */
export const TFJS = 'tfjs-wasm 4.22'
export const JAX = 'jax-js 0.1.25'

const requirePeer = createRequire(join(process.cwd(), 'bench', 'package.json'))

let tfjs: Promise<TfModule> | undefined

/** TensorFlow.js on its WebAssembly backend: SIMD where the engine has it, one thread. */
export function loadTfjs(): Promise<TfModule> {
  return (tfjs ??= startTfjs())
}

/** jax-js on its WebAssembly backend, which in Node has one thread. */
export async function loadJax(): Promise<JaxModule> {
  const jax = load<JaxModule>('@jax-js/jax')
  await jax.init('wasm')
  jax.defaultDevice('wasm')
  return jax
}

async function startTfjs(): Promise<TfModule> {
  // Both come from CommonJS so that they share one engine.
  const tf = load<TfModule>('@tensorflow/tfjs')
  const wasm = load<TfWasmModule>('@tensorflow/tfjs-backend-wasm')
  wasm.setWasmPaths(dirname(requirePeer.resolve('@tensorflow/tfjs-backend-wasm')) + sep)
  wasm.setThreadsCount(1)
  // Skips the peer's own debug checks and its advice to install the native binding.
  tf.enableProdMode()
  if (!(await tf.setBackend('wasm'))) throw new Error('tfjs: the wasm backend did not start')
  await tf.ready()
  if (!(await tf.env().getAsync('WASM_HAS_SIMD_SUPPORT'))) console.warn('note: tfjs has no SIMD')
  return tf
}

function load<Module>(name: string): Module {
  try {
    return requirePeer(name) as Module
  } catch (error) {
    if ((error as { code?: string }).code !== 'MODULE_NOT_FOUND') throw error
    throw new NotInstalled('not installed; npm install --prefix bench')
  }
}
