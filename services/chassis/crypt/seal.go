package crypt

import (
	"fmt"

	"github.com/tink-crypto/tink-go/v2/tink"
	"google.golang.org/protobuf/proto"
)

// SealString encrypts a value so that it opens only for the resource and field it was sealed for: a ciphertext copied into
// another row or column does not decrypt.
func SealString(key tink.AEAD, resource, field, value string) ([]byte, error) {
	sealed, err := key.Encrypt([]byte(value), associated(resource, field))
	if err != nil {
		return nil, fmt.Errorf("encrypt %s of %s: %w", field, resource, err)
	}
	return sealed, nil
}

// OpenString decrypts what SealString made.
func OpenString(key tink.AEAD, resource, field string, sealed []byte) (string, error) {
	value, err := key.Decrypt(sealed, associated(resource, field))
	if err != nil {
		return "", fmt.Errorf("decrypt %s of %s: %w", field, resource, err)
	}
	return string(value), nil
}

// SealProto encrypts a message for one resource and field.
func SealProto(key tink.AEAD, resource, field string, m proto.Message) ([]byte, error) {
	raw, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encrypt %s of %s: %w", field, resource, err)
	}
	return SealString(key, resource, field, string(raw))
}

// OpenProto decrypts what SealProto made into m.
func OpenProto(key tink.AEAD, resource, field string, sealed []byte, m proto.Message) error {
	raw, err := OpenString(key, resource, field, sealed)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal([]byte(raw), m); err != nil {
		return fmt.Errorf("decrypt %s of %s: %w", field, resource, err)
	}
	return nil
}

func associated(resource, field string) []byte {
	return []byte(resource + "\x00" + field)
}
