/** @file Labels, constants, listings and misuse of the x86-64 assembler; encodings are tested next door. */
import { describe, expect, it } from 'vitest'
import { gpr, X86Assembler, type Label, type Memory } from '../../src/asm/x86.ts'

const { rax, rcx, rsp, r15 } = gpr
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function assemble(write: (assembler: X86Assembler) => void): string {
  const assembler = new X86Assembler()
  write(assembler)
  return hex(assembler.finish())
}

function pad(assembler: X86Assembler, bytes: number): void {
  for (let i = 0; i < bytes; i++) assembler.ret()
}

function int32(bytes: Uint8Array, offset: number): number {
  return new DataView(bytes.buffer).getInt32(offset, true)
}

describe('labels', () => {
  it('jumps backward in two bytes as far as they reach', () => {
    for (const [distance, jump, branch] of [
      [0, 'ebfe', '75fe'],
      [126, 'eb80', '7580'],
      [127, 'e97cffffff', '0f857bffffff'],
    ] as const) {
      const back = (write: (assembler: X86Assembler, label: Label) => void) =>
        assemble((a) => {
          const label = a.label()
          a.bind(label)
          pad(a, distance)
          write(a, label)
        }).slice(2 * distance)
      expect(back((a, label) => a.jmp(label))).toBe(jump)
      expect(back((a, label) => a.jcc('ne', label))).toBe(branch)
    }
  })

  it('jumps and calls forward over 32 bits', () => {
    const code = assemble((a) => {
      const label = a.label()
      a.jmp(label)
      a.jcc('l', label)
      a.call(label)
      a.ret()
      a.bind(label)
    })
    expect(code).toBe('e90c000000' + '0f8c06000000' + 'e801000000' + 'c3')
  })

  it('calls backward, and takes addresses ahead and behind', () => {
    const code = assemble((a) => {
      const [start, end] = [a.label(), a.label()]
      a.bind(start)
      a.call(start)
      a.lea(rax, { label: start })
      a.lea(rax, { label: end, disp: 4 })
      a.bind(end)
    })
    expect(code).toBe('e8fbffffff' + '488d05f4ffffff' + '488d0504000000')
  })

  it('counts a distance from behind the immediate', () => {
    const code = assemble((a) => {
      const end = a.label()
      a.vector('vshufps', 128, [1, 2, { label: end }], { imm: 3 })
      a.movImm(32, { label: end }, 7)
      a.bind(end)
    })
    expect(code).toBe('c5e8c60d0a00000003' + 'c7050000000007000000')
  })

  it('survives growth of the buffer', () => {
    const assembler = new X86Assembler()
    const end = assembler.label()
    assembler.jmp(end)
    pad(assembler, 5000)
    assembler.bind(end)
    const bytes = assembler.finish()
    expect(bytes.length).toBe(5005)
    expect(int32(bytes, 1)).toBe(5000)
    expect(end.offset).toBe(5005)
  })
})

describe('constants', () => {
  const bytes = (length: number, value: number) => new Uint8Array(length).fill(value)

  it('stand behind the code, aligned, the widest first', () => {
    const assembler = new X86Assembler()
    const small = assembler.data(bytes(4, 1), 4)
    const wide = assembler.data(bytes(64, 2), 64)
    assembler.vector('vmovss', 128, [0, { label: small }])
    assembler.vector('vmovups', 512, [1, { label: wide, disp: 16 }])
    const code = assembler.finish()
    expect([wide.offset, small.offset]).toEqual([64, 128])
    expect(code.slice(64, 128)).toEqual(bytes(64, 2))
    expect(code.slice(128)).toEqual(bytes(4, 1))
    // The two loads take 8 and 10 bytes.
    expect(int32(code, 4)).toBe(128 - 8)
    expect(int32(code, 14)).toBe(64 + 16 - 18)
  })

  it('are shared if bytes and alignment are equal', () => {
    const assembler = new X86Assembler()
    const first = assembler.data(bytes(4, 1), 4)
    expect(assembler.data(bytes(4, 1), 4)).toBe(first)
    expect(assembler.data(bytes(4, 1), 8)).not.toBe(first)
    expect(assembler.data(bytes(4, 2), 4)).not.toBe(first)
    expect(assembler.data(bytes(8, 1), 4)).not.toBe(first)
    expect(assembler.finish().length).toBe(4 + 4 + 4 + 8)
  })

  it('are copied when given', () => {
    const assembler = new X86Assembler()
    const given = bytes(4, 1)
    assembler.data(given, 4)
    given.fill(9)
    expect(hex(assembler.finish())).toBe('01010101')
  })

  it('may be longer than all the code', () => {
    const assembler = new X86Assembler()
    const label = assembler.data(bytes(10_000, 3), 1)
    assembler.lea(rax, { label })
    expect(assembler.finish().length).toBe(7 + 10_000)
  })
})

describe('align', () => {
  it('fills with the recommended no-ops', () => {
    for (const [size, nop] of [
      [1, '90'],
      [2, '6690'],
      [3, '0f1f00'],
      [4, '0f1f4000'],
      [5, '0f1f440000'],
      [6, '660f1f440000'],
      [7, '0f1f8000000000'],
      [8, '0f1f840000000000'],
      [9, '660f1f840000000000'],
      [12, '660f1f840000000000' + '0f1f00'],
    ] as const) {
      const code = assemble((a) => {
        pad(a, 16 - size)
        a.align(16)
      })
      expect(code.slice(2 * (16 - size))).toBe(nop)
    }
  })

  it('adds nothing where the place is aligned', () => {
    expect(assemble((a) => a.align(64))).toBe('')
  })
})

describe('listing', () => {
  it('has a line per label, instruction and constant', () => {
    const assembler = new X86Assembler({ listing: true })
    const top = assembler.label()
    const one = assembler.data(Uint8Array.of(0, 0, 128, 63), 4)
    assembler.movImm(64, rcx, 16)
    assembler.align(8)
    assembler.bind(top)
    assembler.vector('vaddps', 512, [31, 1, { label: one }], { broadcast: true, mask: 2 })
    assembler.vector('vcmpps.k', 256, [1, 2, { base: rsp, index: r15, scale: 4, disp: -64 }], {
      imm: 0,
    })
    assembler.aluImm('sub', 64, rcx, 1)
    assembler.jcc('ne', top)
    assembler.ret()
    assembler.finish()
    expect(assembler.listing()).toMatchInlineSnapshot(`
      "0000  b910000000              mov ecx, 16
      0005  0f1f00                  nop # 3
      L0:
      0008  6261745a583d12000000    vaddps zmm31{k2}, zmm1, DWORD PTR [rip+D1]{1to16}
      0012  62b16c28c24cbcfe00      vcmpps k1, ymm2, YMMWORD PTR [rsp+r15*4-64], 0
      001b  4883e901                sub rcx, 1
      001f  75e7                    jne L0
      0021  c3                      ret
      D1:
      0024  0000803f"
    `)
  })

  it('shows that code is unfinished only by its jumps', () => {
    const assembler = new X86Assembler({ listing: true })
    assembler.jmp(assembler.label())
    expect(assembler.listing()).toBe(`0000  e900000000              jmp L0`)
  })
})

describe('misuse', () => {
  const memory: Memory = { base: rax }
  const cases: [string, (a: X86Assembler) => void, RegExp][] = [
    ['a wrong operand count', (a) => a.vector('vaddps', 128, [1, 2]), /vaddps has no form/],
    ['memory in a wrong place', (a) => a.vector('vaddps', 128, [1, memory, 2]), /no form/],
    ['memory twice', (a) => a.vector('vmovups', 128, [memory, memory]), /no form/],
    ['memory for a register', (a) => a.vector('vmovhlps', 128, [1, 2, memory]), /no form/],
    ['a register for memory', (a) => a.vector('vmovntps', 256, [1, 2]), /no form/],
    ['a plain name between files', (a) => a.vector('vmovd', 128, [1, 2]), /vmovd has no form/],
    ['a length that is missing', (a) => a.vector('vpermd', 128, [1, 2, 3]), /128 bits/],
    ['a long scalar', (a) => a.vector('vaddss', 256, [1, 2, 3]), /256 bits/],
    ['512 bits in VEX', (a) => a.vector('vpand', 512, [1, 2, 3]), /no EVEX encoding/],
    ['a high register in VEX', (a) => a.vector('vpand', 256, [1, 2, 16]), /no EVEX encoding/],
    ['a register beyond 31', (a) => a.vector('vaddps', 512, [32, 2, 3]), /register 32/],
    ['a fraction as register', (a) => a.vector('vaddps', 512, [0.5, 2, 3]), /register 0\.5/],
    ['mask register 8', (a) => a.vector('kandw', 128, [1, 2, 8]), /register 8/],
    ['a masked store of bits', (a) => a.vector('vmovd', 128, [1, memory], { mask: 1 }), /no mask/],
    [
      'zeroing without a mask',
      (a) => a.vector('vaddps', 512, [1, 2, 3], { zeroing: true }),
      /mask/,
    ],
    [
      'zeroing of memory',
      (a) => a.vector('vmovups', 512, [memory, 1], { mask: 1, zeroing: true }),
      /cannot zero/,
    ],
    ['a missing immediate', (a) => a.vector('vshufps', 128, [1, 2, 3]), /needs an immediate/],
    [
      'an idle immediate',
      (a) => a.vector('vaddps', 128, [1, 2, 3], { imm: 1 }),
      /takes no immediate/,
    ],
    ['a long immediate', (a) => a.vector('vshufps', 128, [1, 2, 3], { imm: 256 }), /256/],
    [
      'broadcast where there is none',
      (a) => a.vector('vpaddb', 512, [1, 2, memory], { broadcast: true }),
      /cannot broadcast/,
    ],
    [
      'broadcast of a register',
      (a) => a.vector('vaddps', 512, [1, 2, 3], { broadcast: true }),
      /cannot broadcast/,
    ],
    [
      'a gather without a mask',
      (a) => a.vector('vgatherdps.k', 512, [1, { base: 0, index: 2 }]),
      /needs a mask/,
    ],
    [
      'a gather without an index',
      (a) => a.vector('vgatherdps.k', 512, [1, memory], { mask: 1 }),
      /index/,
    ],
    ['an unknown instruction', (a) => a.vector('vmagic' as 'vaddps', 128, []), /vmagic/],
    ['rsp as index', (a) => a.lea(rax, { base: rax, index: rsp }), /rsp/],
    ['a strange scale', (a) => a.lea(rax, { index: rax, scale: 3 as 4 }), /scale 3/],
    ['a far displacement', (a) => a.lea(rax, { base: rax, disp: 2 ** 31 }), /displacement/],
    ['a label with a base', (a) => a.lea(rax, { base: rax, label: a.label() }), /label/],
    ['two memory operands', (a) => a.mov(64, memory, memory), /one memory operand/],
    ['a wide immediate', (a) => a.aluImm('add', 64, rax, 2 ** 31), /does not fit 32 bits/],
    ['a wide constant to memory', (a) => a.movImm(64, memory, 2 ** 40), /needs a register/],
    ['a wide constant in 32 bits', (a) => a.movImm(32, rax, 2 ** 32), /does not fit 32 bits/],
    ['a long shift', (a) => a.shiftImm('shl', 32, rax, 32), /by 32/],
    ['a locked operation without source', (a) => a.lock('xadd', 64, memory), /needs a source/],
    ['a label that is bound twice', bindTwice, /bound twice/],
    ['a label that is never bound', (a) => void (a.jmp(a.label()), a.finish()), /never bound/],
    ['an odd alignment', (a) => a.align(3), /power of two/],
    ['an odd alignment of data', (a) => void a.data(new Uint8Array(4), 12), /power of two/],
    ['finishing twice', (a) => void (a.finish(), a.finish()), /twice/],
    ['a listing nobody asked for', (a) => void a.listing(), /listing: true/],
  ]
  it.each(cases)('throws for %s', (_, write, message) => {
    expect(() => write(new X86Assembler())).toThrow(message)
  })
})

function bindTwice(assembler: X86Assembler): void {
  const label = assembler.label()
  assembler.bind(label)
  assembler.bind(label)
}
