package referral

import (
	"cmp"
	"maps"
	"slices"
)

// The axes of a cube. All periods and partners that can be asked for are in one, so that what one report hides no other tells.
const (
	byValue   = iota // what people are told apart by, or the state
	byPartner        // the other organization
	byQuarter        // 0 to 3
	byStage          // how far referrals came
	axes
)

// sum stands for the total along an axis.
const sum = -1

// cell is a place in a cube.
type cell [axes]int32

// cube counts by four things at once, with the totals along each, and knows which counts would tell too much. Counts that are
// not there are 0.
type cube struct {
	counts map[cell]int64
	hidden map[cell]bool
	shown  [axes]bool // whether the totals along the axis are shown to anybody
}

func newCube(shown [axes]bool) *cube {
	return &cube{counts: map[cell]int64{}, hidden: map[cell]bool{}, shown: shown}
}

// add counts n, in their own cell and in all totals.
func (c *cube) add(at cell, n int64) {
	for mask := range 1 << axes {
		total, use := at, true
		for axis := range axes {
			if mask>>axis&1 == 1 {
				total[axis] = sum
				use = use && c.shown[axis]
			}
		}
		if use {
			c.counts[total] += n
		}
	}
}

// line is all cells that differ along one axis only.
type line struct {
	axis int
	at   cell // 0 along the axis
}

// protect hides each count of 1 to fewest-1, and then as many others as it takes that no line gives a hidden one away: in a line
// whose total is shown, at least two parts are hidden, of fewest or more together; a hidden total hides a part. It always hides
// the same ones of the same counts.
func (c *cube) protect() {
	lines := map[line][]cell{}
	for at, n := range c.counts {
		if n < fewest {
			c.hidden[at] = true
		}
		for axis := range axes {
			if c.shown[axis] {
				l := line{axis, at}
				l.at[axis] = 0
				lines[l] = append(lines[l], at)
			}
		}
	}
	order := slices.SortedFunc(maps.Keys(lines), func(a, b line) int {
		return cmp.Or(cmp.Compare(a.axis, b.axis), slices.Compare(a.at[:], b.at[:]))
	})
	for _, l := range order { // totals last, then the smallest first
		slices.SortFunc(lines[l], func(a, b cell) int {
			return cmp.Or(cmp.Compare(b2i(a[l.axis] == sum), b2i(b[l.axis] == sum)), cmp.Compare(c.counts[a], c.counts[b]), slices.Compare(a[:], b[:]))
		})
	}
	for changed := true; changed; {
		changed = false
		for _, l := range order {
			for c.tells(l.axis, lines[l]) {
				changed = true
				c.hidden[lines[l][slices.IndexFunc(lines[l], func(at cell) bool { return !c.hidden[at] })]] = true
			}
		}
	}
}

// tells reports whether a line gives a hidden count away. There is then always another one to hide: what is hidden is more than 0,
// and a part and its total, or two parts, are never 0 together.
func (c *cube) tells(axis int, cells []cell) bool {
	parts, together, total := 0, int64(0), false
	for _, at := range cells {
		switch {
		case !c.hidden[at]:
		case at[axis] == sum:
			total = true
		default:
			parts++
			together += c.counts[at]
		}
	}
	switch {
	case total:
		return parts == 0
	case parts == 0:
		return false
	}
	return parts < 2 || together < fewest
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// protectAll protects cubes that share their totals over all values: what one hides of those, all hide.
func protectAll(cubes ...*cube) {
	for changed := true; changed; {
		changed = false
		for _, c := range cubes {
			c.protect()
			for at := range c.hidden {
				if at[byValue] != sum {
					continue
				}
				for _, other := range cubes {
					if !other.hidden[at] {
						other.hidden[at] = true
						changed = true
					}
				}
			}
		}
	}
}
