/** @file A real Chromium for tests, where the machine has one. */
import { existsSync } from 'node:fs'
import { chromium, type Browser } from 'playwright-core'

const usualPlaces = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/snap/bin/chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
]

/** The browser named by TANDEM_CHROMIUM, else playwright's own, else one in a usual place, else undefined. */
export const chromiumPath = findChromium()

/** For the name of a suite that `chromiumPath` decides about. */
export const chromiumNote =
  chromiumPath === undefined ? ' (skipped: no Chromium here; name one in TANDEM_CHROMIUM)' : ''

export function launchChromium(args: readonly string[] = []): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath!, args: [...args] })
}

function findChromium(): string | undefined {
  const named = process.env['TANDEM_CHROMIUM']
  if (named === undefined || named === '')
    return [chromium.executablePath(), ...usualPlaces].find((path) => existsSync(path))
  if (existsSync(named)) return named
  throw new Error(`TANDEM_CHROMIUM: there is no file ${named}`)
}
