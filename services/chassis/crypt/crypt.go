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
	"slices"
	"sync"
	"sync/atomic"
	"time"

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

	indexVersion = 2 // first byte of a blind index that tells its key
)

// dataKeyContext is the associated data of every wrapped data key, so that a wrapped key is never mistaken for a value.
var dataKeyContext = []byte("cairn data key")

// Keyset holds a service's keys, as its file has them now. It is safe for concurrent use.
type Keyset struct {
	path   string
	live   atomic.Pointer[keys]
	opened *cache

	reloading sync.Mutex
	asked     time.Time // when a value under an unknown key last had the file read again
}

// keys are what one version of the file holds.
type keys struct {
	aead, links tink.AEAD
	prfs        *prf.Set
	indexKeys   []uint32 // of prfs, the primary first
	raw         uint32   // the one of them whose indexes carry no key id

	primary uint32   // AEAD key that encrypts
	ids     []uint32 // of all AEAD keys, in the order in which they were added

	size     int64
	modified time.Time
}

// file is the JSON form of a keyset: Tink keysets in clear, protected by the mode of the file.
type file struct {
	AEAD       json.RawMessage `json:"aead"`
	BlindIndex json.RawMessage `json:"blindIndex"`

	// Keys of what has left the house and cannot be sealed again, such as links in e-mail; absent until the first rotation: AEAD.
	Links json.RawMessage `json:"links,omitempty"`

	// The blind index key from before the first rotation; its indexes carry no key id. 0: the only one there is.
	RawBlindIndex uint32 `json:"rawBlindIndex,omitempty"`
}

// Load reads a keyset. The file must be a regular one that only its owner can read (mode 0600 or 0400).
func Load(path string) (*Keyset, error) {
	ks := &Keyset{path: path, opened: newCache(cacheSize)}
	k, err := load(path)
	if err != nil {
		return nil, err
	}
	ks.live.Store(k)
	return ks, nil
}

func load(path string) (*keys, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("keyset: %w", err)
	}
	f, err := read(path)
	if err != nil {
		return nil, err
	}
	k := &keys{raw: f.RawBlindIndex, size: info.Size(), modified: info.ModTime()}
	aeads, err := parse(f.AEAD)
	if err != nil {
		return nil, fmt.Errorf("keyset %s: aead: %w", path, err)
	}
	if k.aead, err = aead.New(aeads); err != nil {
		return nil, fmt.Errorf("keyset %s: aead: %w", path, err)
	}
	k.primary = aeads.KeysetInfo().GetPrimaryKeyId()
	for _, key := range aeads.KeysetInfo().GetKeyInfo() {
		k.ids = append(k.ids, key.GetKeyId())
	}
	if k.links = k.aead; len(f.Links) > 0 {
		links, err := parse(f.Links)
		if err != nil {
			return nil, fmt.Errorf("keyset %s: links: %w", path, err)
		}
		if k.links, err = aead.New(links); err != nil {
			return nil, fmt.Errorf("keyset %s: links: %w", path, err)
		}
	}
	prfs, err := parse(f.BlindIndex)
	if err != nil {
		return nil, fmt.Errorf("keyset %s: blindIndex: %w", path, err)
	}
	if k.prfs, err = prf.NewPRFSet(prfs); err != nil {
		return nil, fmt.Errorf("keyset %s: blindIndex: %w", path, err)
	}
	if _, err := k.prfs.ComputePrimaryPRF(nil, blindIndexSize); err != nil {
		return nil, fmt.Errorf("keyset %s: blindIndex: %w", path, err)
	}
	k.indexKeys = []uint32{k.prfs.PrimaryID}
	for _, key := range prfs.KeysetInfo().GetKeyInfo() {
		if key.GetKeyId() != k.prfs.PrimaryID {
			k.indexKeys = append(k.indexKeys, key.GetKeyId())
		}
	}
	if k.raw == 0 {
		k.raw = k.prfs.PrimaryID
	}
	return k, nil
}

// Reload reads the file again if it is another one than was read last, and tells whether it was.
func (ks *Keyset) Reload() (bool, error) {
	ks.reloading.Lock()
	defer ks.reloading.Unlock()
	return ks.reload()
}

func (ks *Keyset) reload() (bool, error) {
	info, err := os.Stat(ks.path)
	if err != nil {
		return false, fmt.Errorf("keyset: %w", err)
	}
	if now := ks.live.Load(); info.Size() == now.size && info.ModTime().Equal(now.modified) {
		return false, nil
	}
	k, err := load(ks.path)
	if err != nil {
		return false, err
	}
	ks.live.Store(k)
	return true, nil
}

// reloadFor reads the file again for a value whose key is not known: another process has taken up a rotation. Not more often
// than once a second, whatever is asked for.
func (ks *Keyset) reloadFor(sealed []byte) bool {
	id, ok := KeyOf(sealed)
	if !ok {
		return false
	}
	ks.reloading.Lock()
	defer ks.reloading.Unlock()
	if slices.Contains(ks.live.Load().ids, id) || time.Since(ks.asked) < time.Second {
		return slices.Contains(ks.live.Load().ids, id)
	}
	ks.asked = time.Now()
	changed, err := ks.reload()
	return err == nil && changed
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

// AEAD encrypts what belongs to no person in particular, such as a stored answer. It follows the file.
func (ks *Keyset) AEAD() tink.AEAD { return following{ks} }

type following struct{ ks *Keyset }

// Encrypt encrypts under the primary key.
func (f following) Encrypt(plain, associated []byte) ([]byte, error) {
	return f.ks.live.Load().aead.Encrypt(plain, associated)
}

// Decrypt decrypts what any key of the file has encrypted.
func (f following) Decrypt(sealed, associated []byte) ([]byte, error) {
	plain, err := f.ks.live.Load().aead.Decrypt(sealed, associated)
	if err != nil && f.ks.reloadFor(sealed) {
		return f.ks.live.Load().aead.Decrypt(sealed, associated)
	}
	return plain, err
}

// Links encrypts what leaves the house and cannot be sealed again, such as a link in an e-mail. Its keys outlive a rotation.
func (ks *Keyset) Links() tink.AEAD { return links{ks} }

type links struct{ ks *Keyset }

// Encrypt encrypts under the primary key of links.
func (l links) Encrypt(plain, associated []byte) ([]byte, error) {
	return l.ks.live.Load().links.Encrypt(plain, associated)
}

// Decrypt decrypts what any key of links has encrypted.
func (l links) Decrypt(sealed, associated []byte) ([]byte, error) {
	plain, err := l.ks.live.Load().links.Decrypt(sealed, associated)
	if err != nil {
		if changed, failed := l.ks.Reload(); failed == nil && changed {
			return l.ks.live.Load().links.Decrypt(sealed, associated)
		}
	}
	return plain, err
}

// NewDataKey makes a key for one person. Store wrapped beside her row: whoever deletes it has erased her fields.
func (ks *Keyset) NewDataKey() (wrapped []byte, key tink.AEAD, err error) {
	raw := make([]byte, dataKeySize)
	if _, err := rand.Read(raw); err != nil {
		return nil, nil, fmt.Errorf("new data key: %w", err)
	}
	if wrapped, err = ks.AEAD().Encrypt(raw, dataKeyContext); err != nil {
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
	raw, err := ks.AEAD().Decrypt(wrapped, dataKeyContext)
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

// BlindIndexes are keyed hashes of a normalised value, one by each key that is known, the primary's first: equal values of one
// purpose give equal indexes, and nothing can be read from them without the keys. Purpose separates kinds of value and tenants,
// such as "email organizations/0192…". Whoever stores an index stores all, and finds a value by any of them: so nothing is missed
// while keys are rotated, and two who store the same value at once meet.
func (ks *Keyset) BlindIndexes(purpose, normalised string) [][]byte {
	input := binary.AppendUvarint(nil, uint64(len(purpose)))
	input = append(append(input, purpose...), normalised...)
	k := ks.live.Load()
	all := make([][]byte, len(k.indexKeys))
	for i, id := range k.indexKeys {
		index, err := k.prfs.PRFs[id].ComputePRF(input, blindIndexSize)
		if err != nil {
			panic(fmt.Sprintf("blind index: %v", err)) // only for a length the key cannot give, which Load has tried
		}
		all[i] = append(k.indexPrefix(id), index...)
	}
	return all
}

// BlindIndex is the first of BlindIndexes, by the primary key.
func (ks *Keyset) BlindIndex(purpose, normalised string) []byte {
	return ks.BlindIndexes(purpose, normalised)[0]
}

// indexPrefix begins the indexes of a key; that from before the first rotation has none.
func (k *keys) indexPrefix(id uint32) []byte {
	if id == k.raw {
		return nil
	}
	return binary.BigEndian.AppendUint32([]byte{indexVersion}, id)
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
