package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// Seal encrypts what a process hands to a caller and wants back, such as where a listing goes on, so that the caller can neither read
// nor change it. Every process that shares the keys opens it, for the same purpose only. The text is fit for a URL.
func (i *Identities) Seal(purpose string, plain []byte) (string, error) {
	box, err := sealer(i.keys[0], purpose)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, box.NonceSize(), box.NonceSize()+len(plain)+box.Overhead())
	rand.Read(nonce) // never fails (Go 1.24)
	return base64.RawURLEncoding.EncodeToString(box.Seal(nonce, nonce, plain, nil)), nil
}

// Open decrypts what Seal made for the purpose, under any of the keys.
func (i *Identities) Open(purpose, sealed string) ([]byte, error) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return nil, fmt.Errorf("sealed: %w", err)
	}
	for _, key := range i.keys {
		box, err := sealer(key, purpose)
		if err != nil {
			return nil, err
		}
		if len(raw) < box.NonceSize() {
			break
		}
		if plain, err := box.Open(nil, raw[:box.NonceSize()], raw[box.NonceSize():], nil); err == nil {
			return plain, nil
		}
	}
	return nil, errors.New("sealed: by no key of ours, or for something else")
}

// sealer returns the cipher for a purpose: its key is derived, so that a signing key never encrypts.
func sealer(key []byte, purpose string) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, key, nil, "cairn seal "+purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return cipher.NewGCM(block)
}
