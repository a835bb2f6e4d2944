package verified_test

import (
	"math/rand/v2"
	"testing"

	"gatehouse.dev/gatehouse/authn/verified"
)

// Every tag that is alike is found, and nothing below the first that is.
func TestLike(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		// Few different tags, so that many are alike or differ in their lowest bit.
		var tags, want uint64
		tag := uint64(0x80 | r.IntN(4))
		if r.IntN(5) == 0 {
			tag = 0
		}
		for i := range 7 {
			if one := uint64(0x80 | r.IntN(4)); r.IntN(4) > 0 {
				tags |= one << (8 * i)
			}
		}
		first := -1
		for i := range 8 {
			if tags>>(8*i)&0xff == tag {
				want |= 0x80 << (8 * i)
				if first < 0 {
					first = i
				}
			}
		}
		got := verified.Like(tags, tag)
		if got&want != want || want == 0 && got != 0 || want != 0 && got&(1<<(8*first)-1) != 0 {
			t.Fatalf("like(%#x, %#x) = %#x, want %#x and nothing below", tags, tag, got, want)
		}
		if tag != 0 && got>>56 != 0 {
			t.Fatalf("like(%#x, %#x) = %#x finds the byte that is no entry's", tags, tag, got)
		}
	}
}
