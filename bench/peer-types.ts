/** @file The few calls of the peers that the benchmarks make; the peers are not installed when this compiles. */

export interface TfTensor {
  readonly shape: number[]
  dispose(): void
  dataSync(): Float32Array
  slice(begin: number[], size: number[]): TfTensor
}

interface TfModel {
  add(layer: unknown): void
  compile(options: { optimizer: unknown; loss: string }): void
  fit(x: TfTensor, y: TfTensor, options: Record<string, unknown>): Promise<unknown>
  dispose(): void
}

export interface TfModule {
  enableProdMode(): void
  setBackend(name: string): Promise<boolean>
  ready(): Promise<void>
  env(): { getAsync(flag: string): Promise<unknown> }
  tensor(values: Float32Array, shape: number[]): TfTensor
  add(a: TfTensor, b: TfTensor): TfTensor
  mul(a: TfTensor, b: TfTensor): TfTensor
  exp(x: TfTensor): TfTensor
  tanh(x: TfTensor): TfTensor
  sigmoid(x: TfTensor): TfTensor
  softmax(x: TfTensor): TfTensor
  transpose(x: TfTensor, order: number[]): TfTensor
  matMul(a: TfTensor, b: TfTensor): TfTensor
  conv2d(
    x: TfTensor,
    filter: TfTensor,
    strides: number,
    padding: number,
    dataFormat: 'NHWC',
    dilations: number,
    dimRoundingMode: 'floor',
  ): TfTensor
  sequential(): TfModel
  layers: { dense(options: Record<string, unknown>): unknown }
  train: { adam(rate: number): unknown }
}

export interface TfWasmModule {
  setWasmPaths(folder: string): void
  setThreadsCount(count: number): void
}

/** Passing an array to a function of jax-js consumes it; `.ref` keeps it. */
export interface JaxArray {
  readonly ref: JaxArray
  dispose(): void
  dataSync(): Float32Array
  blockUntilReady(): Promise<JaxArray>
  add(other: JaxArray | number): JaxArray
  sub(other: JaxArray | number): JaxArray
  mul(other: JaxArray | number): JaxArray
  div(other: JaxArray | number): JaxArray
  sum(axis?: number): JaxArray
  mean(): JaxArray
  neg(): JaxArray
  reshape(shape: number[]): JaxArray
  transpose(order?: number[]): JaxArray
}

export interface JaxModule {
  init(device: string): Promise<unknown>
  defaultDevice(device: string): unknown
  blockUntilReady<T>(tree: T): Promise<T>
  jit<Args extends unknown[], Result>(
    f: (...args: Args) => Result,
  ): ((...args: Args) => Result) & { dispose(): void }
  valueAndGrad<Tree, Rest extends unknown[]>(
    f: (tree: Tree, ...rest: Rest) => JaxArray,
  ): (tree: Tree, ...rest: Rest) => [JaxArray, Tree]
  numpy: {
    array: (values: Float32Array | Int32Array | number) => JaxArray
    zeros: (shape: number[]) => JaxArray
    matmul: (a: JaxArray, b: JaxArray) => JaxArray
    sqrt: (a: JaxArray) => JaxArray
    square: (a: JaxArray) => JaxArray
  }
  nn: { relu: (a: JaxArray) => JaxArray; logSoftmax: (a: JaxArray) => JaxArray }
}
