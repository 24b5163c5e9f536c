import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundleBrowser, type BundledFile } from '../../scripts/bundle-browser.ts'
import { serveFolder, type StaticServer } from '../../scripts/static-server.ts'
import { drawDigits } from '../../src/vision/synthetic-digits.ts'
import { chromiumNote, chromiumPath, launchChromium } from './chromium.ts'
import { watchMainThread } from './main-thread.ts'

let folder = ''
let bundle: BundledFile[] = []
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tandem-browser-'))
  // One folder down: the page must not depend on where it lies.
  bundle = await bundleBrowser(join(folder, 'page'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('the bundle stays below 150 kB gzipped and needs nothing of Node', () => {
  expect(bundle.map(({ name }) => name)).toEqual(['page.js', 'worker.js'])
  expect(bundle.reduce((sum, { gzipped }) => sum + gzipped, 0)).toBeLessThan(150_000)
  for (const { name } of bundle)
    expect(readFileSync(join(folder, 'page', name), 'utf8')).not.toMatch(
      /['"`]node:|\.node\.ts|\brequire\(/,
    )
})

describe.skipIf(chromiumPath === undefined)(`in Chromium${chromiumNote}`, () => {
  let server: StaticServer
  let browser: Browser
  let page: Page
  const complaints: string[] = []

  beforeAll(async () => {
    server = await serveFolder(folder)
    browser = await launchChromium()
    page = await browser.newPage()
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('requestfailed', (request) => complaints.push(`request failed: ${request.url()}`))
    await page.goto(`${server.url}page/`)
    await untilReady()
  })
  afterAll(async () => {
    await browser?.close()
    await server?.close()
  })

  const untilReady = () =>
    page.waitForSelector('body[data-state=ready]', { timeout: 50_000 }).then(() => undefined)
  const textOf = (selector: string) => page.innerText(selector)
  const numberOf = async (selector: string) =>
    parseFloat((await textOf(selector)).replace(/,/g, ''))
  const start = async (network: 'mlp' | 'cnn', epochs: number) => {
    await page.check(`input[value=${network}]`, { force: true })
    await page.fill('#epochs', String(epochs))
    await page
      .locator('#history tr')
      .evaluateAll((list) => list.forEach((row) => row.classList.add('old')))
    await page.click('#start')
    // The worker answers, and the page clears what the last run left.
    await page.waitForFunction(() => document.querySelector('#history .old') === null)
  }

  test('shows digits, and says that they are synthetic', async () => {
    expect(await textOf('#source')).toBe('Synthetic digits')
    expect(await textOf('#description')).toContain('not MNIST')
    expect(await page.locator('#digits canvas').count()).toBe(48)
    expect(await inkOf(page, '#digits canvas')).toBeGreaterThan(20)
    expect(await page.isDisabled('#stop')).toBe(true)
  })

  test('trains to 95% and shows how, while the main thread stays free', async () => {
    const blank = await inkOf(page, '#curve', 'accent')
    const stopWatching = await watchMainThread(browser, page)
    await start('mlp', 8)
    await untilReady()
    const tasks = await stopWatching()

    expect(await textOf('#epoch')).toBe('8 of 8')
    expect(await numberOf('#accuracy')).toBeGreaterThanOrEqual(95)
    expect(await numberOf('#speed')).toBeGreaterThan(100)
    expect(await page.locator('#history tr').count()).toBe(8)
    expect(blank).toBe(0)
    expect(await inkOf(page, '#curve', 'accent')).toBeGreaterThan(500)
    expect(await page.locator('#digits .right').count()).toBeGreaterThan(40)
    expect(await textOf('#digits li:first-child')).toMatch(/^\d [✓✗] \d+%$/)

    // By the thread's own time: where other programs have the cores, a task waits, which is not its
    // fault; and a page can only be blocked by computing.
    expect(tasks.length).toBeGreaterThan(10)
    expect(tasks.filter(({ cpu }) => cpu > 100)).toEqual([])
  })

  test('reads what is drawn by hand and with the keyboard', async () => {
    const { x, y, width } = (await page.locator('#pad').boundingBox())!
    await page.mouse.move(x + 0.5 * width, y + 0.2 * width)
    await page.mouse.down()
    await page.mouse.move(x + 0.5 * width, y + 0.8 * width, { steps: 8 })
    await page.mouse.up()
    await page.waitForSelector('#reading strong')
    expect(await page.locator('#bars .best').count()).toBe(1)
    await page.click('#clear')
    expect(await textOf('#reading')).toBe('Draw above.')

    await page.focus('#pad')
    await page.keyboard.press('Space')
    for (let i = 0; i < 12; i++) await page.keyboard.press('ArrowDown')
    await page.waitForSelector('#reading strong')
  })

  test('stops at once, forgets nothing, starts anew; memory does not grow', async () => {
    await start('mlp', 100)
    await page.waitForSelector('#history tr:nth-child(2)')
    const before = await numberOf('#memory')
    await page.waitForSelector('#history tr:nth-child(10)', { timeout: 40_000 })
    expect(await numberOf('#memory')).toBeLessThanOrEqual(1.25 * before)
    await page.click('#stop')
    await untilReady()
    expect(await textOf('#status')).toBe('Stopped.')
    expect(await page.isEnabled('#start')).toBe(true)
  })

  test('trains a convolutional network', async () => {
    await start('cnn', 1)
    await untilReady()
    expect(await page.isHidden('#problem')).toBe(true)
    expect(await page.locator('#history tr').count()).toBe(1)
    expect(await numberOf('#accuracy')).toBeGreaterThan(80)
  })

  test('takes MNIST files, and says what is wrong with others', async () => {
    await page.setInputFiles('#files', [file('photo.png', [1, 2, 3])])
    await page.waitForSelector('#problem:not([hidden])')
    expect(await textOf('#problem')).toContain("Expected MNIST's four files together")
    await page.click('#problem-close')
    await untilReady()

    await page.setInputFiles('#files', [...idxFiles('train', 640), ...idxFiles('t10k', 100)])
    await page.waitForFunction(() => document.querySelector('#source')!.textContent === 'MNIST')
    await untilReady()
    expect(await textOf('#description')).toBe(
      '640 digits to learn from and 100 others to be tested on.',
    )
    await start('mlp', 1)
    await untilReady()
    expect(await page.locator('#history tr').count()).toBe(1)
    await page.click('#use-synthetic')
    await untilReady()
    expect(await textOf('#source')).toBe('Synthetic digits')
  })

  test('nothing complained', () => {
    expect(complaints).toEqual([])
  })
})

/** How many pixels of a canvas have ink; with a role, ink about of the page's colour of that name. */
function inkOf(page: Page, selector: string, role?: string): Promise<number> {
  return page.$eval(
    selector,
    (canvas: HTMLCanvasElement, role) => {
      const { width, height } = canvas
      const copy = new OffscreenCanvas(width, height).getContext('2d')!
      copy.drawImage(canvas, 0, 0)
      const { data } = copy.getImageData(0, 0, width, height)
      const color = getComputedStyle(document.documentElement).getPropertyValue(`--${role}`)
      const wanted = [1, 3, 5].map((at) => parseInt(color.trim().slice(at, at + 2), 16))
      let count = 0
      for (let i = 0; i < data.length; i += 4) {
        const isNear = wanted.every((value, c) => Math.abs(value - data[i + c]!) < 40)
        if (data[i + 3]! > 127 && (role === undefined || isNear)) count++
      }
      return count
    },
    role,
  )
}

interface UploadedFile {
  name: string
  mimeType: string
  buffer: Buffer
}

function file(name: string, ...parts: (Uint8Array | readonly number[])[]): UploadedFile {
  const buffer = Buffer.concat(parts.map((part) => Buffer.from(part)))
  return { name, mimeType: 'application/octet-stream', buffer }
}

/** Drawn digits in the files of MNIST's format. */
function idxFiles(part: 'train' | 't10k', count: number): UploadedFile[] {
  const { images, labels } = drawDigits({ count, seed: count })
  const size = [0, 0, count >> 8, count & 255]
  const side = [0, 0, 0, 28]
  return [
    file(`${part}-images-idx3-ubyte`, [0, 0, 8, 3, ...size, ...side, ...side], images),
    file(`${part}-labels-idx1-ubyte`, [0, 0, 8, 1, ...size], labels),
  ]
}
