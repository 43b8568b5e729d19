package crypt

import (
	"bytes"
	"slices"
	"testing"
)

func TestPreparedKeysAreKnownAndDoNothing(t *testing.T) {
	t.Parallel()
	ks, path := setup(t)
	was, _ := ks.Primary()
	index := ks.BlindIndexes("email", "ada@example.org")
	for range 2 { // the second time there are prepared ones
		if err := Prepare(path); err != nil {
			t.Fatal(err)
		}
	}
	if changed, err := ks.Reload(); err != nil || !changed {
		t.Fatalf("reload: %v, %v", changed, err)
	}
	if changed, err := ks.Reload(); err != nil || changed {
		t.Errorf("the same file was read twice: %v, %v", changed, err)
	}
	if now, _ := ks.Primary(); now != was || !ks.Prepared() {
		t.Errorf("primary is %d, was %d; prepared %v", now, was, ks.Prepared())
	}
	known := ks.BlindIndexes("email", "ada@example.org")
	if len(known) != 2 || !bytes.Equal(known[0], index[0]) {
		t.Errorf("indexes are %x, were %x", known, index)
	}
	if err := Rotate(path); err != nil {
		t.Fatal(err)
	}
	if _, err := ks.Reload(); err != nil {
		t.Fatal(err)
	}
	if now, _ := ks.Primary(); now == was || ks.Prepared() {
		t.Errorf("primary is %d still, or a third key was made", now)
	}
	after := ks.BlindIndexes("email", "ada@example.org")
	if !bytes.Equal(after[0], known[1]) || !bytes.Equal(after[1], known[0]) {
		t.Errorf("indexes are %x, want those of before, the other first: %x", after, known)
	}
	forms := ks.IndexForms()
	for i, f := range forms {
		if len(after[i]) != f.Length || !bytes.HasPrefix(after[i], f.Prefix) {
			t.Errorf("index %x is not of the form %+v", after[i], f)
		}
	}
}

func TestRetiredKeysReadNothingAndLinksStay(t *testing.T) {
	t.Parallel()
	ks, path := setup(t)
	place := Context("members/1", "email")
	sealed, err := ks.AEAD().Encrypt([]byte("ada"), place)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, _, err := ks.NewDataKey()
	if err != nil {
		t.Fatal(err)
	}
	link, err := ks.Links().Encrypt([]byte("stop"), nil)
	if err != nil {
		t.Fatal(err)
	}
	index := ks.BlindIndexes("p", "v")
	if err := Rotate(path); err != nil {
		t.Fatal(err)
	}
	if _, err := ks.Reload(); err != nil {
		t.Fatal(err)
	}
	old, ids := ks.Old()
	if len(old) != 1 || len(ids) != 1 || !bytes.HasPrefix(sealed, old[0]) {
		t.Fatalf("old keys are %v %x", ids, old)
	}
	again, err := ks.Reseal(sealed, place)
	if err != nil {
		t.Fatal(err)
	}
	rewrapped, err := ks.Rewrap(wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if err := Retire(path, false); err != nil {
		t.Fatal(err)
	}
	fresh, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.AEAD().Decrypt(sealed, place); err == nil {
		t.Error("a retired key still reads")
	}
	if got, err := fresh.AEAD().Decrypt(again, place); err != nil || string(got) != "ada" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := fresh.OpenDataKey(rewrapped); err != nil {
		t.Errorf("open data key: %v", err)
	}
	if now := fresh.BlindIndexes("p", "v"); len(now) != 1 || slices.ContainsFunc(index, func(was []byte) bool { return bytes.Equal(was, now[0]) }) {
		t.Errorf("indexes are %x, were %x", now, index)
	}
	if got, err := fresh.Links().Decrypt(link, nil); err != nil || string(got) != "stop" {
		t.Errorf("a link of before the rotation: %q, %v", got, err)
	}
	if old, _ := fresh.Old(); len(old) != 0 {
		t.Errorf("old keys are left: %x", old)
	}
	if err := Retire(path, true); err != nil {
		t.Fatal(err)
	}
	if fresh, err = Load(path); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Links().Decrypt(link, nil); err == nil {
		t.Error("the links' old key was to go too")
	}
}

func TestKeyOf(t *testing.T) {
	t.Parallel()
	ks, _ := setup(t)
	sealed, err := ks.AEAD().Encrypt(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := ks.Primary()
	if got, ok := KeyOf(sealed); !ok || got != id {
		t.Errorf("got %d, %v, want %d", got, ok, id)
	}
	for _, other := range [][]byte{nil, {1, 2, 3}, {2, 0, 0, 0, 1, 9}} {
		if _, ok := KeyOf(other); ok {
			t.Errorf("%x was sealed by nobody", other)
		}
	}
}
