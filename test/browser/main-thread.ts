/** @file Watches what a page's main thread does. */
import type { Browser, Page } from 'playwright-core'

/** One task of the main thread, in milliseconds. */
export interface Task {
  /** From its begin to its end, waiting for a core included. */
  readonly wall: number
  /** What the thread itself computed. */
  readonly cpu: number
}

interface TraceEvent {
  readonly name: string
  readonly pid: number
  readonly tid: number
  readonly ts: number
  readonly dur?: number
  readonly tdur?: number
}

/** Begins to watch. The function returned ends it and gives the tasks since, longest first. */
export async function watchMainThread(
  browser: Browser,
  page: Page,
): Promise<() => Promise<Task[]>> {
  await browser.startTracing(page, {
    categories: ['disabled-by-default-devtools.timeline', 'blink.user_timing'],
  })
  // Of all threads the page's is the one that sets this mark.
  const mark = 'watch-main-thread'
  await page.evaluate((name) => performance.mark(name).name, mark)
  return async () => {
    const trace = JSON.parse((await browser.stopTracing()).toString()) as {
      traceEvents: TraceEvent[]
    }
    const start = trace.traceEvents.find(({ name }) => name === mark)
    if (start === undefined) throw new Error('the trace lacks the mark of the main thread')
    return trace.traceEvents
      .filter(
        ({ name, pid, tid, ts }) =>
          name === 'RunTask' && pid === start.pid && tid === start.tid && ts > start.ts,
      )
      .map(({ dur = 0, tdur = 0 }) => ({ wall: dur / 1000, cpu: tdur / 1000 }))
      .toSorted((a, b) => b.wall - a.wall)
  }
}
