/** @file Letting the rest of the program run between batches. */

/** Longest time the event loop is kept waiting, in milliseconds. */
const patience = 50

let last = performance.now()

/** Whether it is time for a pause: training loops only await settled promises, which starve timers and sockets. */
export function isPauseDue(): boolean {
  return performance.now() - last > patience
}

/** Lets timers, input and sockets have their turn. */
export async function pause(): Promise<void> {
  await nextTask()
  last = performance.now()
}

function nextTask(): Promise<void> {
  if (typeof setImmediate === 'function') return new Promise((resolve) => setImmediate(resolve))
  // Browsers delay nested timers by 4 ms and those of hidden pages by a second; messages they do not.
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(undefined)
  })
}
