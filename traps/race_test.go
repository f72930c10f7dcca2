//go:build race

package traps

// heldLimit is larger under the race detector, which adds to every stack and
// object.
const heldLimit = 24 << 10
