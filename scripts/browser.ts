/** @file `npm run browser`: bundles the browser example and serves it. PORT chooses the port. */
import { browserFolder, bundleBrowser, sizeLines } from './bundle-browser.ts'
import { serveFolder } from './static-server.ts'

const usualPort = 8080

console.log(sizeLines(await bundleBrowser()).join('\n'))
const port = process.env['PORT']
const { url } =
  port === undefined
    ? await serveFolder(browserFolder, usualPort).catch(() => serveFolder(browserFolder))
    : await serveFolder(browserFolder, Number(port))
console.log(`\nOpen ${url}  (Ctrl+C ends; any static server can serve ${browserFolder}/)`)
