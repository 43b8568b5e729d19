package index

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
)

type note struct{ At int }

// filled returns an index and its oracle with random documents, changed and partly rebuilt.
func filled(seed uint64, size int) (*Index, *oracle, *rand.Rand) {
	r := rand.New(rand.NewPCG(seed, 99))
	x, o := New(), newOracle()
	var ids []uuid.UUID
	var b Batch
	for range size {
		ids = append(ids, randomID(r))
		b.Upserts = append(b.Upserts, randomDoc(r, ids[len(ids)-1]))
	}
	x.Apply(b)
	o.apply(b)
	if size > 0 {
		x.Rebuild()
		for range size / 4 {
			b := randomBatch(r, &ids)
			x.Apply(b)
			o.apply(b)
		}
	}
	return x, o, r
}

// What is read from a snapshot finds what was written, and goes on from there.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	for seed, size := range []int{0, 1, 700} {
		x, o, r := filled(uint64(seed), size)
		path := filepath.Join(t.TempDir(), "index", "groups")
		if _, err := Load(path, new(note)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no snapshot: %v", err)
		}
		if err := x.Save(path, note{7}); err != nil {
			t.Fatal(err)
		}
		var n note
		y, err := Load(path, &n)
		if err != nil || n.At != 7 || y.Len() != x.Len() {
			t.Fatalf("read %+v and %v, want 7 and an index of %d", n, err, x.Len())
		}
		for range 40 {
			compare(t, y, o, randomQuery(r))
		}
		ids := []uuid.UUID{randomID(r)}
		for id := range o.docs {
			ids = append(ids, id)
		}
		for range 200 {
			b := randomBatch(r, &ids)
			y.Apply(b)
			o.apply(b)
		}
		y.Rebuild()
		for range 40 {
			compare(t, y, o, randomQuery(r))
		}
	}
}

// A damaged snapshot is refused, wherever the damage is.
func TestDamagedSnapshot(t *testing.T) {
	t.Parallel()
	x, _, r := filled(3, 50)
	var b bytes.Buffer
	if err := x.Write(&b, note{1}); err != nil {
		t.Fatal(err)
	}
	for range 300 {
		bad := bytes.Clone(b.Bytes())
		if at := r.IntN(len(bad)); r.IntN(2) == 0 {
			bad[at] ^= 1 << r.IntN(8)
		} else {
			bad = bad[:at]
		}
		if _, err := Read(bad, new(note)); err == nil {
			t.Fatal("a damaged snapshot was read")
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, size := range []int{0, 5} {
		x, _, _ := filled(1, size)
		var b bytes.Buffer
		if err := x.Write(&b, note{1}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes()[len(magic) : b.Len()-crc32.Size])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := read(b, new(note)) // past the checksum, which hardly any input has
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := x.Write(&again, note{1}); err != nil {
			t.Fatal(err)
		}
		x.Search(&Query{Words: "group", Limit: 5, Now: now})
	})
}

func FuzzQueryWords(f *testing.F) {
	x, o, _ := filled(2, 60)
	for _, w := range asked {
		f.Add(w)
	}
	f.Add("癌 \xff ß\u0301 " + string(rune(0x1F600)))
	f.Fuzz(func(t *testing.T, words string) {
		if len(words) > 200 {
			return
		}
		q := &Query{Words: words, Order: Relevance, Limit: 10, Now: now}
		want, got := o.search(q), x.Search(q)
		if len(want.Hits) != len(got.Hits) {
			t.Fatalf("%q finds %d, want %d", words, len(got.Hits), len(want.Hits))
		}
		for i, h := range got.Hits {
			if h != want.Hits[i] {
				t.Fatalf("%q: result %d is %+v, want %+v", words, i, h, want.Hits[i])
			}
		}
		for _, d := range o.docs {
			for _, p := range NewMarker(got.Words).Passage(d.Title) {
				if p.Text == "" {
					t.Errorf("an empty part of %q", d.Title)
				}
			}
		}
	})
}
