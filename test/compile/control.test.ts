/** @file cond, whileLoop and scan: the same values and gradients eagerly and in programs. */
import { describe, expect, test } from 'vitest'
import {
  checkpoint,
  compile,
  cond,
  enableGrad,
  grad,
  GradError,
  noGrad,
  ones,
  randn,
  scan,
  ShapeError,
  tensor,
  TraceError,
  ValueError,
  where,
  whileLoop,
  zeros,
  type Tensor,
} from 'tandem'
import * as nn from 'tandem/nn'
import * as optim from 'tandem/optim'

const w = new nn.Parameter(tensor([1.5, -0.5]))

/** Values, and gradients of the sum for the arguments and `w`, eagerly, compiled, and with backward inside. */
function check(f: (...args: Tensor[]) => Tensor, calls: readonly (readonly Tensor[])[]): void {
  const run = (g: (...args: Tensor[]) => Tensor, hasBackward: boolean) =>
    calls.map((args) => {
      w.grad = undefined
      const leaves = args.map((t) => (t.dtype === 'float32' ? t.detach().requireGrad() : t))
      const y = g(...leaves)
      if (!hasBackward && y.requiresGrad) y.sum().backward()
      // A program knows no way that has no influence: the gradient is zero then.
      const ofLeaves = [...leaves, w].map((t) => t.grad ?? zeros(t.shape))
      return [y, ...ofLeaves].map((t) => t.toArraySync())
    })
  const whole = (...args: Tensor[]) => {
    const y = f(...args)
    if (y.requiresGrad) y.sum().backward()
    return y.detach()
  }
  const eager = run(f, false)
  const compiled = compile(f)
  expect(run(compiled, false)).toEqual(eager)
  expect(run(compile(whole), true)).toEqual(eager)
  const shapes = new Set(calls.map((args) => args.map((t) => t.shape.join()).join('|')))
  expect(compiled.programs.length).toBe(shapes.size)
}

const signs = [[tensor([1, 2])], [tensor([-1, -2])], [tensor([3, -2])]]

describe('cond', () => {
  test('takes one of two ways', () =>
    check(
      (x) =>
        cond(
          x.sum().gt(0),
          (a) => a.mul(w).exp(),
          (a) => a.sub(w.mul(w)),
          [x],
        ),
      signs,
    ))

  test('finds what it reads outside, views and constants, too', () => {
    const constant = tensor([
      [1, 2],
      [3, 4],
    ])
    check((x) => {
      const h = x.mul(w)
      return cond(
        h.max().gt(1),
        () => h.reshape([1, 2]).matmul(constant).transpose().squeeze(),
        () => constant.slice([1, 2]).squeeze().mul(x).flip(),
      ).add(h)
    }, signs)
  })

  test('may give what it is given, or a constant', () =>
    check(
      (x) =>
        cond(
          x.sum().gt(0),
          () => x,
          () => ones([2]),
        ).mul(2),
      signs,
    ))

  test('keeps away from the gradient of the other way', () => {
    const f = compile((x: Tensor) =>
      cond(
        x.gt(0),
        () => x.log(),
        () => x.mul(0),
      ),
    )
    const x = tensor([0]).requireGrad()
    f(x).sum().backward()
    expect(x.grad!.itemSync()).toBe(0)
  })

  test('of structures, of integers and bools', () => {
    const f = (x: Tensor) =>
      cond(
        x.sum().gt(0),
        () => ({ all: [x.argmax(), x.gt(0)], k: 3 }),
        () => ({ all: [x.argmin(), x.lt(0)], k: 3 }),
      )
    const look = (g: typeof f) =>
      signs.map(([x]) => {
        const { all, k } = g(x!)
        return [all.map((t) => t.toArraySync()), k]
      })
    expect(look(compile(f))).toEqual(look(f))
  })

  test('within cond, and with a known predicate', () => {
    check(
      (x) =>
        cond(
          x.sum().gt(0),
          () =>
            cond(
              x.min().gt(0),
              () => x.mul(w),
              () => x.exp(),
            ),
          () =>
            cond(
              false,
              () => x,
              () => x.mul(x).mul(w),
            ),
        ),
      signs,
    )
  })

  test('in a step of training', () => {
    const run = (isCompiled: boolean) => {
      const p = new nn.Parameter(tensor([1, 2]))
      const optimizer = new optim.SGD([p], { lr: 0.1 })
      const plain = (x: Tensor) => {
        optimizer.zeroGrad()
        const h = p.mul(x)
        const loss = cond(
          h.sum().gt(0),
          (a) => a.mul(a).sum(),
          (a) => a.abs().sum(),
          [h],
        )
        loss.backward()
        optimizer.step()
        return loss.detach()
      }
      const step = isCompiled ? compile(plain) : plain
      return [...signs, ...signs].map(([x]) => [step(x!).itemSync(), p.toArraySync()])
    }
    expect(run(true)).toEqual(run(false))
  })

  test('has gradients of gradients', () => {
    const f = (x: Tensor) =>
      cond(
        x.sum().gt(0),
        () => x.mul(x).mul(x).sum(),
        () => x.exp().sum(),
      )
    const second = (x: Tensor) => grad((t: Tensor) => grad(f)(t).sum())(x)
    for (const [x] of signs)
      expect(compile(second)(x!).toArraySync()).toEqual(second(x!).toArraySync())
  })

  test('inside a checkpoint', () =>
    check(
      (x) =>
        checkpoint(
          (a: Tensor) =>
            cond(
              a.sum().gt(0),
              () => a.exp().mul(w),
              () => a.mul(a),
            ).sin(),
          x,
        ),
      signs,
    ))

  test('refuses what cannot be', () => {
    const x = tensor([1, 2])
    const or = (a: () => unknown, b: () => unknown) => compile(() => void cond(x.sum(), a, b))
    expect(() =>
      cond(
        x,
        () => 1,
        () => 2,
      ),
    ).toThrow(ShapeError)
    expect(() =>
      or(
        () => x,
        () => x.sum(),
      )(),
    ).toThrow(/whenTrue and whenFalse differ: float32 \[2\]/)
    expect(() =>
      or(
        () => x,
        () => [x],
      )(),
    ).toThrow(/different structures/)
    const outside = 'given to cond or whileLoop'
    expect(() =>
      or(
        () => x.dropout({ p: 0.5 }),
        () => x,
      )(),
    ).toThrow(outside)
    const cell = new nn.Buffer(x)
    expect(() =>
      or(
        () => cell.assign(x.mul(2)),
        () => x,
      )(),
    ).toThrow(outside)
    expect(cell.toArraySync()).toEqual([1, 2])
    const p = new nn.Parameter(x)
    const backward = () => {
      enableGrad(() => p.sum().backward())
      return x
    }
    expect(() => or(backward, () => x)()).toThrow(TraceError)
    expect(p.grad).toBe(undefined)
    let kept = x
    const leak = compile(() => {
      cond(
        x.sum(),
        () => (kept = x.mul(2)),
        () => x,
      )
      return kept.add(1)
    })
    expect(leak).toThrow(/Return it from there/)
  })
})

describe('whileLoop', () => {
  const starts = [[tensor([1, 2])], [tensor([40, 60])], [tensor([200, 1])]]

  test('goes on as long as it should', () =>
    check(
      (x) =>
        noGrad(() =>
          whileLoop(
            (a) => a.max().lt(100),
            (a) => a.mul(2).add(w.abs()),
            x.detach(),
          ),
        ),
      starts,
    ))

  test('has gradients, given a limit of its steps', () =>
    check(
      (x) =>
        whileLoop(
          (a) => a.max().lt(100),
          (a) => a.mul(1.5).add(w),
          x,
          { maxSteps: 20 },
        ),
      starts,
    ))

  test('carries structures of any dtype', () =>
    check((x) => {
      const begin = {
        x,
        steps: tensor(0, { dtype: 'int32' }),
        up: tensor([true, false]),
        both: [w.mul(1)],
      }
      const { both, steps, up } = whileLoop(
        (s) => s.x.max().lt(50).logicalAnd(s.steps.lt(6)),
        (s) => ({
          x: where(s.up, s.x.mul(2), s.x.add(1)),
          steps: s.steps.add(1),
          up: s.up.logicalNot(),
          both: [s.both[0]!.mul(s.x).mul(0.1)],
        }),
        begin,
        { maxSteps: 8 },
      )
      return both[0]!.mul(steps).add(up.cast('float32'))
    }, starts))

  test('stops at the limit', () =>
    check(
      (x) =>
        whileLoop(
          () => true,
          (a) => a.mul(w),
          x,
          { maxSteps: 3 },
        ),
      starts,
    ))

  test('with branches and loops inside', () =>
    check(
      (x) =>
        whileLoop(
          (a) => a.abs().sum().lt(300),
          (a) =>
            cond(
              a.sum().lt(50),
              () =>
                whileLoop(
                  (b) => b.sum().lt(20),
                  (b) => b.add(3),
                  a.mul(2),
                  { maxSteps: 5 },
                ),
              () => a.mul(w.abs().add(1)),
            ),
          x,
          { maxSteps: 12 },
        ),
      starts,
    ))

  test('has gradients of gradients', () => {
    const f = (x: Tensor) =>
      whileLoop(
        (a) => a.sum().lt(10),
        (a) => a.mul(a).mul(2),
        x,
        { maxSteps: 5 },
      ).sum()
    const second = (x: Tensor) => grad((t: Tensor) => grad(f)(t).sum())(x)
    const x = tensor([0.8, 0.9])
    expect(compile(second)(x).toArraySync()).toEqual(second(x).toArraySync())
  })

  test('refuses what cannot be', () => {
    const x = ones([2])
    const always = (a: Tensor) => a.sum().lt(10)
    expect(() =>
      whileLoop(
        () => x,
        (a) => a,
        x,
      ),
    ).toThrow(ShapeError)
    expect(() => whileLoop(always, (a) => a, x, { maxSteps: -1 })).toThrow(ValueError)
    expect(() => compile((t: Tensor) => whileLoop(always, (a) => a.sum(), t))(x)).toThrow(/differ/)
    expect(() => compile((t: Tensor) => whileLoop(always, (a) => [a] as never, t))(x)).toThrow(
      /structure/,
    )
    const f = compile((t: Tensor) => whileLoop(always, (a) => a.mul(2), t))
    expect(() => f(ones([2]).requireGrad())).toThrow(GradError)
    expect(f(x).toArraySync()).toEqual([8, 8])
  })
})

describe('scan', () => {
  test('carries on and stacks', () =>
    check(
      (xs) => {
        const [carry, ys] = scan(
          (h, x: Tensor) => {
            const next = h.mul(w).add(x).tanh()
            return [next, { next, double: [next.mul(2)] }]
          },
          zeros([2]),
          xs,
        )
        return carry.add(ys.next.mul(ys.double[0]!).sum({ axis: 0 }))
      },
      [[randn([5, 2])], [randn([1, 2])]],
    ))

  test('goes along several tensors at once', () => {
    const [sum, ys] = scan((c, { a, b }) => [c.add(a), a.mul(b)], tensor(0), {
      a: tensor([1, 2]),
      b: tensor([3, 4]),
    })
    expect([sum.itemSync(), ys.toArraySync()]).toEqual([3, [3, 8]])
  })

  test('needs one length above 0', () => {
    const f = (c: Tensor, x: Tensor) => [c, x] as const
    expect(() => scan(f, tensor(0), zeros([0, 2]))).toThrow(ShapeError)
    expect(() => scan(f as never, tensor(0), [ones([2]), ones([3])])).toThrow(
      /one and the same length/,
    )
  })
})
