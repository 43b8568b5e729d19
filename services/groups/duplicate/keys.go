package duplicate

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Bounds on the keys of one listing.
const (
	maxSlots = 7
	maxTerms = 3
)

// Keys returns what other listings of the same group share at least one of, unless nearly all of the two differs: the
// digests of a link, a number, an address, of time and place, of title and place, of title and time. They are distinct and
// sorted, commonly ten to twenty, and tell nothing about what they are made of.
func Keys(l *Listing) []int64 {
	var keys []int64
	add := func(parts ...any) {
		sum := sha256.Sum256(fmt.Append(nil, parts...))
		keys = append(keys, int64(binary.BigEndian.Uint64(sum[:8])))
	}
	slots := l.times[:min(len(l.times), maxSlots)]
	terms := l.title.terms()
	whole := slices.Clone(l.title.words)
	slices.Sort(whole)
	signature := strings.Join(whole, " ")

	if l.source != "" {
		add("source|", l.source)
	}
	for kind, value := range map[string]string{"page|": l.links.page, "join|": l.links.join, "dial|": l.links.dial, "email|": l.links.email, "phone|": l.links.phone} {
		if value != "" {
			add(kind, value)
		}
	}
	// Offices have many groups: their addresses tell more together with the time.
	for _, s := range slots {
		for _, office := range []string{l.links.email, l.links.phone, l.links.site} {
			if office != "" {
				add("office|", office, "|", s.day, "|", s.minute)
			}
		}
		if signature != "" {
			add("title and time|", signature, "|", s.day, "|", s.minute)
			if s.utc >= 0 {
				add("title and instant|", signature, "|", s.utc)
			}
		}
	}
	p := &l.place
	if p.located {
		// Two grids, each shifted by half a cell: neighbours on both sides of a line of one are in one cell of the other.
		for grid := range 2 {
			for _, s := range slots {
				add("near and time|", grid, p.cell(1, grid), s.day, "|", s.minute)
			}
			for _, t := range terms {
				add("title and near|", grid, p.cell(5, grid), t)
			}
		}
	}
	for _, town := range []string{p.locality, p.postal} {
		if town == "" {
			continue
		}
		for _, t := range terms {
			add("title and town|", town, "|", t)
		}
		if p.number != "" && len(p.street) > 0 {
			add("address|", town, "|", p.number, "|", longest(p.street))
		}
	}
	if !p.located && p.locality == "" {
		for i, t := range terms {
			for _, u := range terms[i+1:] {
				add("title|", min(t, u), "|", max(t, u))
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// terms returns the beginnings of the title's longest telling words; most typing errors leave one of them as it is.
func (t *title) terms() []string {
	const start = 4
	var strong []string
	for _, w := range t.words {
		if weightOf(w) == 1 || t.content == 0 {
			strong = append(strong, w)
		}
	}
	slices.SortStableFunc(strong, func(x, y string) int { return len(y) - len(x) })
	out := strong[:min(len(strong), maxTerms)]
	for i, w := range out {
		r := []rune(w)
		out[i] = string(r[:min(len(r), start)])
	}
	return out
}

// cell returns the cell of about so many kilometres that the place is in; the second grid is shifted by half a cell.
func (p *place) cell(km float64, grid int) string {
	const degree = 111.2 // kilometres
	shift := float64(grid) / 2
	row := math.Floor(p.lat*degree/km + shift)
	// The width of a cell follows its row, so that all places of a row count in the same columns.
	width := degree / km * math.Max(0.01, math.Cos(row*km/degree*math.Pi/180))
	return fmt.Sprintf("%g,%.0f,%.0f|", km, row, math.Floor(p.lng*width+shift))
}

func longest(words []string) string {
	best := ""
	for _, w := range words {
		if len(w) > len(best) {
			best = w
		}
	}
	return best
}
