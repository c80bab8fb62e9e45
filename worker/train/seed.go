package train

// StepSeed returns the seed of the random numbers (dropout) that a rank draws in a step. It
// depends on nothing else, so a step that is done again draws the same ones. The mixing is
// that of SplitMix64; the result is never negative.
func StepSeed(seed, step int64, rank int) int64 {
	x := mix(uint64(seed))
	x = mix(x ^ uint64(step))
	x = mix(x ^ uint64(rank))
	return int64(x >> 1)
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
