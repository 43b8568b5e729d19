package crypt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

func setup(t *testing.T) (*Keyset, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keyset.json")
	ks, err := Generate(path)
	if err != nil {
		t.Fatalf("Generate: %v", err)
	}
	return ks, path
}

func TestGenerateThenLoadOpensTheSame(t *testing.T) {
	t.Parallel()
	ks, path := setup(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o600); got != want {
		t.Errorf("mode = %v, want %v", got, want)
	}
	wrapped, key, err := ks.NewDataKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := SealString(key, "members/1", "legal_name", "Ada Example")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	opened, err := again.OpenDataKey(wrapped)
	if err != nil {
		t.Fatalf("OpenDataKey: %v", err)
	}
	got, err := OpenString(opened, "members/1", "legal_name", sealed)
	if err != nil || got != "Ada Example" {
		t.Errorf("OpenString = %q, %v, want the name", got, err)
	}
	a, b := ks.BlindIndexes("email", "ada@example.org")[0], again.BlindIndexes("email", "ada@example.org")[0]
	if !bytes.Equal(a, b) {
		t.Errorf("blind index changed over a reload: %x, %x", a, b)
	}
}

func TestGenerateKeepsAnExistingFile(t *testing.T) {
	t.Parallel()
	_, path := setup(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Generate = %v, want %v", err, fs.ErrExist)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("second Generate changed the file")
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 {
		t.Errorf("directory holds %v, want the keyset alone", left)
	}
}

func TestLoadOrGenerateFromManyAtOnceAgrees(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keyset.json")
	indexes := make([]string, 8)
	var wg sync.WaitGroup
	for i := range indexes {
		wg.Go(func() {
			ks, err := LoadOrGenerate(path)
			if err != nil {
				t.Errorf("LoadOrGenerate: %v", err)
				return
			}
			indexes[i] = string(ks.BlindIndexes("p", "v")[0])
		})
	}
	wg.Wait()
	for i, got := range indexes {
		if got != indexes[0] {
			t.Errorf("keyset %d differs from keyset 0", i)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	_, good := setup(t)
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, content, want string
		mode                os.FileMode
	}{
		{"readable by the group", string(content), "chmod 600", 0o640},
		{"readable by all", string(content), "chmod 600", 0o604},
		{"not JSON", "nonsense", "invalid character", 0o600},
		{"empty object", "{}", "aead: missing", 0o600},
		{"no blind index key", `{"aead":` + between(string(content)) + `}`, "blindIndex: missing", 0o600},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "keyset.json")
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tc.mode); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Load = %v, want an error with %q", err, tc.want)
			}
		})
	}
	if _, err := Load(filepath.Dir(good)); err == nil {
		t.Error("Load of a directory succeeded")
	}
	if _, err := Load(good + ".absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of no file = %v, want %v", err, fs.ErrNotExist)
	}
}

// between cuts the aead keyset out of a keyset file.
func between(content string) string {
	_, rest, _ := strings.Cut(content, `"aead":`)
	aead, _, _ := strings.Cut(rest, `,
  "blindIndex"`)
	return aead
}

func TestRotateKeepsOldCiphertextReadable(t *testing.T) {
	t.Parallel()
	old, path := setup(t)
	wrapped, key, err := old.NewDataKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := SealString(key, "members/1", "email", "ada@example.org")
	if err != nil {
		t.Fatal(err)
	}
	index := old.BlindIndexes("email", "ada@example.org")[0]
	if err := Rotate(path); err != nil {
		t.Fatalf("Rotate: %v", err)
	}
	rotated, err := Load(path)
	if err != nil {
		t.Fatalf("Load after Rotate: %v", err)
	}
	opened, err := rotated.OpenDataKey(wrapped)
	if err != nil {
		t.Fatalf("OpenDataKey after Rotate: %v", err)
	}
	if got, err := OpenString(opened, "members/1", "email", sealed); err != nil || got != "ada@example.org" {
		t.Errorf("OpenString after Rotate = %q, %v", got, err)
	}
	if got := rotated.BlindIndexes("email", "ada@example.org"); len(got) != 2 || bytes.Equal(got[0], index) || !bytes.Equal(got[1], index) {
		t.Errorf("after the rotation the indexes are %x, want a new one and %x", got, index)
	}
	fresh, _, err := rotated.NewDataKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, prefix := rotated.Primary(); !bytes.HasPrefix(fresh, prefix) {
		t.Errorf("a data key is wrapped by another key than the primary one: %x, want %x…", fresh, prefix)
	}
	if _, err := old.OpenDataKey(fresh); err != nil {
		t.Errorf("a process that has not loaded the new file does not read it for a value of the new key: %v", err)
	}
}

func TestSealIsBoundToItsPlace(t *testing.T) {
	t.Parallel()
	ks, _ := setup(t)
	wrapped, key, err := ks.NewDataKey()
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ks.NewDataKey()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := SealProto(key, "members/1", "contact", wrapperspb.String("+1 555 0100"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte("555")) {
		t.Error("the ciphertext shows the value")
	}
	var got wrapperspb.StringValue
	if err := OpenProto(key, "members/1", "contact", sealed, &got); err != nil || got.GetValue() != "+1 555 0100" {
		t.Errorf("OpenProto = %v, %v", got.GetValue(), err)
	}
	for name, err := range map[string]error{
		"other resource": OpenProto(key, "members/2", "contact", sealed, &got),
		"other field":    OpenProto(key, "members/1", "email", sealed, &got),
		"other key":      OpenProto(other, "members/1", "contact", sealed, &got),
		"cut short":      OpenProto(key, "members/1", "contact", sealed[:len(sealed)-1], &got),
		"empty":          OpenProto(key, "members/1", "contact", nil, &got),
	} {
		if err == nil {
			t.Errorf("%s: opened", name)
		} else if strings.Contains(err.Error(), "555") {
			t.Errorf("%s: the error shows the value: %v", name, err)
		}
	}
	if _, err := ks.AEAD().Decrypt(wrapped, nil); err == nil {
		t.Error("a wrapped data key opened as a plain value")
	}
}

func TestBlindIndexSeparatesPurposes(t *testing.T) {
	t.Parallel()
	ks, _ := setup(t)
	seen := map[string]string{}
	for _, in := range [][2]string{{"ab", "c"}, {"a", "bc"}, {"", "abc"}, {"abc", ""}, {"ab", "d"}} {
		index := ks.BlindIndexes(in[0], in[1])[0]
		if len(index) != blindIndexSize {
			t.Errorf("length %d, want %d", len(index), blindIndexSize)
		}
		if other, ok := seen[string(index)]; ok {
			t.Errorf("%v and %s give the same index", in, other)
		}
		seen[string(index)] = fmt.Sprint(in)
	}
}

func TestCacheIsBoundedAndForgets(t *testing.T) {
	t.Parallel()
	ks, _ := setup(t)
	ks.opened = newCache(2)
	var wrapped [][]byte
	for range 3 {
		w, _, err := ks.NewDataKey()
		if err != nil {
			t.Fatal(err)
		}
		wrapped = append(wrapped, w)
	}
	if got := len(ks.opened.byKey); got != 2 {
		t.Errorf("cache holds %d keys, want 2", got)
	}
	if _, ok := ks.opened.get(wrapped[0]); ok {
		t.Error("the oldest key was kept")
	}
	if _, err := ks.OpenDataKey(wrapped[0]); err != nil {
		t.Errorf("an evicted key no longer opens: %v", err)
	}
	ks.Forget(wrapped[0])
	if _, ok := ks.opened.get(wrapped[0]); ok {
		t.Error("a forgotten key is still in memory")
	}
}

func BenchmarkOpenDataKeyAndField(b *testing.B) {
	ks, err := Generate(filepath.Join(b.TempDir(), "keyset.json"))
	if err != nil {
		b.Fatal(err)
	}
	wrapped, key, err := ks.NewDataKey()
	if err != nil {
		b.Fatal(err)
	}
	sealed, err := SealString(key, "members/1", "email", "ada@example.org")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		opened, err := ks.OpenDataKey(wrapped)
		if err != nil {
			b.Fatal(err)
		}
		if got, err := OpenString(opened, "members/1", "email", sealed); err != nil || got != "ada@example.org" {
			b.Fatalf("got %q, %v", got, err)
		}
	}
}
