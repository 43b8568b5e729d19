// Package crypt encrypts what the database must never show: personal fields, stored answers, and the keys of both.
//
// A Keyset is one file. Its AEAD keys wrap a data key for each person (or encrypt directly what belongs to nobody); its
// PRF keys make blind indexes, by which an equal value is found again without being readable. Deleting the wrapped data
// key of a person makes everything encrypted under it unreadable for good.
package crypt

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"
)

const (
	dataKeySize    = 32
	blindIndexSize = 32
	cacheSize      = 4096
)

// dataKeyContext is the associated data of every wrapped data key, so that a wrapped key is never mistaken for a value.
var dataKeyContext = []byte("cairn data key")

// Keyset holds a service's keys. It is safe for concurrent use.
type Keyset struct {
	aead   tink.AEAD
	prfs   *prf.Set
	opened *cache
}

// file is the JSON form of a keyset: two Tink keysets in clear, protected by the mode of the file.
type file struct {
	AEAD       json.RawMessage `json:"aead"`
	BlindIndex json.RawMessage `json:"blindIndex"`
}

// Load reads a keyset. The file must be a regular one that only its owner can read (mode 0600 or 0400).
func Load(path string) (*Keyset, error) {
	f, err := read(path)
	if err != nil {
		return nil, err
	}
	aeads, err := parse(f.AEAD)
	if err != nil {
		return nil, fmt.Errorf("keyset %s: aead: %w", path, err)
	}
	prfs, err := parse(f.BlindIndex)
	if err != nil {
		return nil, fmt.Errorf("keyset %s: blindIndex: %w", path, err)
	}
	ks := &Keyset{opened: newCache(cacheSize)}
	if ks.aead, err = aead.New(aeads); err != nil {
		return nil, fmt.Errorf("keyset %s: aead: %w", path, err)
	}
	if ks.prfs, err = prf.NewPRFSet(prfs); err != nil {
		return nil, fmt.Errorf("keyset %s: blindIndex: %w", path, err)
	}
	if _, err := ks.prfs.ComputePrimaryPRF(nil, blindIndexSize); err != nil {
		return nil, fmt.Errorf("keyset %s: blindIndex: %w", path, err)
	}
	return ks, nil
}

// Generate writes a new keyset to a file that must not exist yet, with mode 0600, and loads it.
func Generate(path string) (*Keyset, error) {
	aeads, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("generate aead key: %w", err)
	}
	prfs, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("generate blind index key: %w", err)
	}
	var f file
	if f.AEAD, err = format(aeads); err != nil {
		return nil, err
	}
	if f.BlindIndex, err = format(prfs); err != nil {
		return nil, err
	}
	// A link refuses to replace: of two processes that generate at once, one wins and the other is told.
	if err := write(path, f, os.Link); err != nil {
		return nil, err
	}
	return Load(path)
}

// LoadOrGenerate loads the keyset, or generates it where there is none yet.
func LoadOrGenerate(path string) (*Keyset, error) {
	ks, err := Load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return ks, err
	}
	ks, err = Generate(path)
	if errors.Is(err, fs.ErrExist) {
		return Load(path)
	}
	return ks, err
}

// Rotate adds a new AEAD key, which encrypts from now on, and keeps the old ones, which still decrypt. Processes take it
// up when they load the file again: start every replica with the rotated file before the old one is discarded. The blind
// index key stays, because indexed values would no longer be found.
func Rotate(path string) error {
	f, err := read(path)
	if err != nil {
		return err
	}
	handle, err := parse(f.AEAD)
	if err != nil {
		return fmt.Errorf("keyset %s: aead: %w", path, err)
	}
	manager := keyset.NewManagerFromHandle(handle)
	id, err := manager.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return fmt.Errorf("add aead key: %w", err)
	}
	if err := manager.SetPrimary(id); err != nil {
		return fmt.Errorf("set primary aead key: %w", err)
	}
	if handle, err = manager.Handle(); err != nil {
		return fmt.Errorf("rotated aead keyset: %w", err)
	}
	if f.AEAD, err = format(handle); err != nil {
		return err
	}
	return write(path, f, os.Rename)
}

// AEAD encrypts what belongs to no person in particular, such as a stored answer.
func (ks *Keyset) AEAD() tink.AEAD { return ks.aead }

// NewDataKey makes a key for one person. Store wrapped beside her row: whoever deletes it has erased her fields.
func (ks *Keyset) NewDataKey() (wrapped []byte, key tink.AEAD, err error) {
	raw := make([]byte, dataKeySize)
	if _, err := rand.Read(raw); err != nil {
		return nil, nil, fmt.Errorf("new data key: %w", err)
	}
	if wrapped, err = ks.aead.Encrypt(raw, dataKeyContext); err != nil {
		return nil, nil, fmt.Errorf("wrap data key: %w", err)
	}
	if key, err = subtle.NewAESGCM(raw); err != nil {
		return nil, nil, fmt.Errorf("new data key: %w", err)
	}
	ks.opened.put(wrapped, key)
	return wrapped, key, nil
}

// OpenDataKey unwraps a person's key. A bounded number of opened keys is remembered.
func (ks *Keyset) OpenDataKey(wrapped []byte) (tink.AEAD, error) {
	if key, ok := ks.opened.get(wrapped); ok {
		return key, nil
	}
	raw, err := ks.aead.Decrypt(wrapped, dataKeyContext)
	if err != nil {
		return nil, fmt.Errorf("unwrap data key: %w", err)
	}
	key, err := subtle.NewAESGCM(raw)
	if err != nil {
		return nil, fmt.Errorf("unwrap data key: %w", err)
	}
	ks.opened.put(wrapped, key)
	return key, nil
}

// Forget drops an opened key from memory, for when its wrapped form has been deleted.
func (ks *Keyset) Forget(wrapped []byte) { ks.opened.drop(wrapped) }

// BlindIndex is a keyed hash of a normalised value: equal values of one purpose give equal indexes, and nothing can be
// read from it without the key. Purpose separates kinds of value and tenants, such as "email organizations/0192…".
func (ks *Keyset) BlindIndex(purpose, normalised string) []byte {
	input := binary.AppendUvarint(nil, uint64(len(purpose)))
	input = append(append(input, purpose...), normalised...)
	index, err := ks.prfs.ComputePrimaryPRF(input, blindIndexSize)
	if err != nil {
		panic(fmt.Sprintf("blind index: %v", err)) // only for a length the key cannot give, which Load has tried
	}
	return index
}

func parse(raw json.RawMessage) (*keyset.Handle, error) {
	if len(raw) == 0 {
		return nil, errors.New("missing")
	}
	return insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
}

func format(h *keyset.Handle) (json.RawMessage, error) {
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&buf)); err != nil {
		return nil, fmt.Errorf("format keyset: %w", err)
	}
	return buf.Bytes(), nil
}

func read(path string) (file, error) {
	info, err := os.Stat(path)
	if err != nil {
		return file{}, fmt.Errorf("keyset: %w", err)
	}
	if !info.Mode().IsRegular() {
		return file{}, fmt.Errorf("keyset %s: not a regular file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return file{}, fmt.Errorf("keyset %s: mode is %#o, but only its owner may read it: chmod 600 %[1]s", path, info.Mode().Perm())
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return file{}, fmt.Errorf("keyset: %w", err)
	}
	var f file
	if err := json.Unmarshal(raw, &f); err != nil {
		return file{}, fmt.Errorf("keyset %s: %w", path, err)
	}
	return f, nil
}

// write puts the file in place whole or not at all; publish is os.Link (must be new) or os.Rename (replaces).
func write(path string, f file, publish func(from, to string) error) (err error) {
	raw, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("format keyset: %w", err)
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".keyset-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write keyset: %w", err)
	}
	defer func() {
		if rm := os.Remove(tmp.Name()); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}()
	_, err = tmp.Write(append(raw, '\n'))
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return fmt.Errorf("write keyset: %w", err)
	}
	if err := publish(tmp.Name(), path); err != nil {
		return fmt.Errorf("write keyset: %w", err)
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write keyset: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write keyset: %w", err)
	}
	return nil
}
