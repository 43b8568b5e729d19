package directory

import (
	"math"
	"math/rand/v2"
	"sort"
	"strings"
)

// zipf picks numbers of which the k-th comes 1/k^s as often as the first.
type zipf []float64 // shares, summed up

func newZipf(n int, s float64) zipf {
	z := make(zipf, n)
	total := 0.0
	for i := range z {
		total += math.Pow(float64(i+1), -s)
		z[i] = total
	}
	for i := range z {
		z[i] /= total
	}
	return z
}

func (z zipf) pick(r *rand.Rand) int { return min(sort.SearchFloat64s(z, r.Float64()), len(z)-1) }

// properNames makes names for places out of syllables.
func properNames(seed uint64, n int) []string {
	r := rand.New(rand.NewPCG(mixed(seed), mixed(5))) //nolint:gosec // not a secret
	starts := strings.Fields("Al Bel Bren Cal Cor Dal Dor El Fair Fen Gar Glen Har Hol Is Jas Kel Lan Lin Mar Mel Mon Nor Oak Or Pel Quin Ran Ros San Sel Stan Tal Thorn Ur Val Ven Wal Wes Yar Zel")
	middles := strings.Fields("a an ar be de el en er i in ka la le lo ma mi na ne o ora ra ri ro sa se ta ti ura va ve")
	ends := strings.Fields("bach berg bourne bridge brook burg by dale den dorf field ford gate ham hill holm land ley mar mont more mouth nau rado ria ridge sta stead thal ton vale villa ville wick worth")
	var out []string
	seen := map[string]bool{}
	for len(out) < n {
		name := starts[r.IntN(len(starts))] + middles[r.IntN(len(middles))] + ends[r.IntN(len(ends))]
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out
}
