/** @file ADD AN OP FILE HERE: every function in this namespace is also a method of Tensor. */
export * from './unary.ts'
export * from './binary.ts'
export * from './cast.ts'
export * from './movement.ts'
export * from './reduce.ts'
export * from './matmul.ts'
export * from './pad.ts'
export * from './device.ts'
