package crypt

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
)

// Prepare adds new keys to the file that are known, but do nothing yet, unless it has such already. Once every process knows
// them, Rotate makes them primary: so no process meets a value that it cannot read.
func Prepare(path string) error { return edit(path, prepare) }

// Rotate makes the prepared keys primary, new ones where none are prepared: they encrypt and index from now on. The old ones
// still decrypt and find. Processes on one machine follow at once; where each machine has a file of its own, prepare first.
func Rotate(path string) error {
	return edit(path, func(f *file) error {
		if err := prepare(f); err != nil {
			return err
		}
		for _, raw := range []*json.RawMessage{&f.AEAD, &f.BlindIndex, &f.Links} {
			if err := change(raw, func(m *keyset.Manager, keys []*tinkpb.KeysetInfo_KeyInfo, _ int) error {
				return m.SetPrimary(keys[len(keys)-1].GetKeyId())
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Retire removes the keys from before the primary ones: what they have sealed cannot be read any more. Those of links stay, or
// go with dropLinks, and links in old e-mails with them.
func Retire(path string, dropLinks bool) error {
	return edit(path, func(f *file) error {
		lists := []*json.RawMessage{&f.AEAD, &f.BlindIndex}
		if dropLinks && len(f.Links) > 0 {
			lists = append(lists, &f.Links)
		}
		for _, raw := range lists {
			if err := change(raw, func(m *keyset.Manager, keys []*tinkpb.KeysetInfo_KeyInfo, primary int) error {
				for _, old := range keys[:primary] {
					if err := m.Delete(old.GetKeyId()); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// prepare adds a key behind the primary one of each list where that is the last.
func prepare(f *file) error {
	if len(f.Links) == 0 {
		f.Links = f.AEAD // what has left the house so far was sealed by these
	}
	if f.RawBlindIndex == 0 {
		handle, err := parse(f.BlindIndex)
		if err != nil {
			return err
		}
		f.RawBlindIndex = handle.KeysetInfo().GetPrimaryKeyId()
	}
	for raw, template := range map[*json.RawMessage]*tinkpb.KeyTemplate{
		&f.AEAD: aead.AES256GCMKeyTemplate(), &f.Links: aead.AES256GCMKeyTemplate(), &f.BlindIndex: prf.HMACSHA256PRFKeyTemplate(),
	} {
		if err := change(raw, func(m *keyset.Manager, keys []*tinkpb.KeysetInfo_KeyInfo, primary int) error {
			if primary < len(keys)-1 {
				return nil
			}
			_, err := m.Add(template)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// edit changes the file whole or not at all.
func edit(path string, fn func(*file) error) error {
	f, err := read(path)
	if err != nil {
		return err
	}
	if err := fn(&f); err != nil {
		return fmt.Errorf("keyset %s: %w", path, err)
	}
	return write(path, f, os.Rename)
}

// change changes one keyset; fn is told its keys in the order in which they were added, and which is primary.
func change(raw *json.RawMessage, fn func(m *keyset.Manager, keys []*tinkpb.KeysetInfo_KeyInfo, primary int) error) error {
	handle, err := parse(*raw)
	if err != nil {
		return err
	}
	info := handle.KeysetInfo()
	primary := slices.IndexFunc(info.GetKeyInfo(), func(k *tinkpb.KeysetInfo_KeyInfo) bool { return k.GetKeyId() == info.GetPrimaryKeyId() })
	manager := keyset.NewManagerFromHandle(handle)
	if err := fn(manager, info.GetKeyInfo(), primary); err != nil {
		return err
	}
	if handle, err = manager.Handle(); err != nil {
		return err
	}
	*raw, err = format(handle)
	return err
}

// sealedPrefix is how Tink begins what a key has sealed: a version, and the key's id.
func sealedPrefix(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{1}, id) }

// KeyOf returns which key has sealed a value, false if it is none that a keyset has sealed.
func KeyOf(sealed []byte) (uint32, bool) {
	if len(sealed) < 5 || sealed[0] != 1 {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:5]), true
}

// Primary returns the id of the key that encrypts, and how everything that it has sealed begins.
func (ks *Keyset) Primary() (id uint32, prefix []byte) {
	id = ks.live.Load().primary
	return id, sealedPrefix(id)
}

// Old returns how what was sealed by keys from before the primary one begins, and their ids.
func (ks *Keyset) Old() (prefixes [][]byte, ids []uint32) {
	k := ks.live.Load()
	for _, id := range k.ids[:slices.Index(k.ids, k.primary)] {
		prefixes, ids = append(prefixes, sealedPrefix(id)), append(ids, id)
	}
	return prefixes, ids
}

// Prepared tells whether the file has keys that are not primary yet.
func (ks *Keyset) Prepared() bool {
	k := ks.live.Load()
	return slices.Index(k.ids, k.primary) < len(k.ids)-1
}

// IndexForm is how the blind indexes of one key look in a column.
type IndexForm struct {
	Prefix []byte
	Length int
}

// IndexForms returns how blind indexes look: those of the primary key, then those of the others that are known.
func (ks *Keyset) IndexForms() []IndexForm {
	k := ks.live.Load()
	forms := make([]IndexForm, len(k.indexKeys))
	for i, id := range k.indexKeys {
		forms[i] = IndexForm{Prefix: k.indexPrefix(id), Length: len(k.indexPrefix(id)) + blindIndexSize}
	}
	return forms
}

// Rewrap wraps a data key anew, under the primary key.
func (ks *Keyset) Rewrap(wrapped []byte) ([]byte, error) {
	return ks.Reseal(wrapped, dataKeyContext)
}

// Reseal seals a value anew, under the primary key.
func (ks *Keyset) Reseal(sealed, associated []byte) ([]byte, error) {
	plain, err := ks.AEAD().Decrypt(sealed, associated)
	if err != nil {
		return nil, fmt.Errorf("reseal: %w", err)
	}
	defer clear(plain)
	again, err := ks.AEAD().Encrypt(plain, associated)
	if err != nil {
		return nil, fmt.Errorf("reseal: %w", err)
	}
	return again, nil
}

// Context is the associated data that [SealString] and [SealProto] bind a value of a resource's field to.
func Context(resource, field string) []byte { return associated(resource, field) }
