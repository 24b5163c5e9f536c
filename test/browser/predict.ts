/** @file What the page of saved-graph.test.ts runs: it knows nothing of the model. */
import { fromSafetensors, loadGraph } from 'tandem/io'

export interface Prediction {
  readonly device: string
  readonly elements: readonly number[]
}

/** Predictions of the graph at one address for the inputs in the safetensors file at another. */
export async function predict(graph: string, inputs: string): Promise<Prediction> {
  const loaded = await loadGraph(graph)
  const { tensors } = fromSafetensors(
    new Uint8Array(await (await fetch(new URL(inputs, location.href))).arrayBuffer()),
  )
  const scores = loaded.run('predict', tensors)
  return { device: scores.device, elements: [...(await scores.data())].map(Number) }
}

/** What is said of a graph that cannot be loaded. */
export async function complaint(graph: string): Promise<string> {
  return loadGraph(graph).then(
    () => '',
    (error: unknown) => String(error),
  )
}
