package partners

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cairn.care/services/chassis/crypt"
)

// secretPrefix begins every secret, as Standard Webhooks has it.
const secretPrefix = "whsec_"

// newSecret makes a key to sign with.
func newSecret() (string, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return "", fmt.Errorf("new secret: %w", err)
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(key), nil
}

// sign returns the webhook-signature of a body under each secret.
func sign(secrets []string, id string, at time.Time, body []byte) (string, error) {
	signatures := make([]string, len(secrets))
	for i, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
		if err != nil {
			return "", fmt.Errorf("secret: %w", err)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " "), nil
}

// sealSecret encrypts a secret for a column of the subscription.
func (s *service) sealSecret(r *webhookRow, column, secret string) ([]byte, error) {
	return crypt.SealString(s.crypt.AEAD(), r.name(), column, secret)
}

// secrets returns what a subscription signs with now, the newest first.
func (s *service) secrets(r *webhookRow) ([]string, error) {
	secret, err := crypt.OpenString(s.crypt.AEAD(), r.name(), "secret", r.Secret)
	if err != nil {
		return nil, err
	}
	if r.PreviousSecret == nil || !s.clock.Now().Before(*r.PreviousSecretExpire) {
		return []string{secret}, nil
	}
	previous, err := crypt.OpenString(s.crypt.AEAD(), r.name(), "previous_secret", r.PreviousSecret)
	if err != nil {
		return nil, err
	}
	return []string{secret, previous}, nil
}
