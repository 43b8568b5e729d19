package chassis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/nats-io/nats.go"

	"cairn.care/services/chassis/auth"
	"cairn.care/services/chassis/crypt"
	"cairn.care/services/chassis/embedded"
	"cairn.care/services/chassis/events"
	"cairn.care/services/chassis/mail"
)

// loadKeys reads the keys that the configuration names; an embedded process makes its own. One
// without data encrypts nothing and needs none.
func (p *Process) loadKeys(standalone, data bool) (err error) {
	c := p.config
	switch {
	case !data:
	case c.EncryptionKeysFile != "":
		p.crypt, err = crypt.Load(c.EncryptionKeysFile)
	case standalone:
		if err := os.MkdirAll(c.Path("keys"), 0o700); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
		p.crypt, err = crypt.LoadOrGenerate(c.Path("keys", "encryption.json"))
	default:
		return errors.New("encryption_keys_file is not set")
	}
	if err != nil {
		return err
	}
	p.identities = auth.NewIdentities(p.clock)
	if c.IdentityKeysFile != "" {
		if p.identities, err = auth.LoadIdentities(c.IdentityKeysFile, p.clock); err != nil {
			return err
		}
	}
	if c.TLSCertFile == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	p.serverTLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	p.clientTLS = p.serverTLS.Clone()
	if c.TLSCAFile != "" {
		pem, err := os.ReadFile(c.TLSCAFile)
		if err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("tls: %s holds no certificate", c.TLSCAFile)
		}
		p.serverTLS.ClientCAs, p.serverTLS.ClientAuth = pool, tls.VerifyClientCertIfGiven
		p.clientTLS.RootCAs = pool
	}
	return nil
}

// smtpServer is the SMTP server of the configuration.
func (c *Config) smtpServer() mail.Server {
	return mail.Server{
		Address: c.SMTPAddress, TLS: c.SMTPTLS, CAFile: c.SMTPCAFile, User: c.SMTPUser, PasswordFile: c.SMTPPasswordFile, From: c.SMTPFrom,
	}
}

// haveData tells whether any of the components has a database.
func haveData(components []Component) bool {
	return slices.ContainsFunc(components, func(c Component) bool { return c.Migrations != nil })
}

// startParts brings up PostgreSQL and NATS, or connects to those configured.
func (p *Process) startParts(ctx context.Context, o Options, components []Component) error {
	c := p.config
	if !haveData(components) {
		return nil
	}
	if !o.Embedded && (c.PostgresURL == "" || c.NATSURL == "") {
		return errors.New("postgres_url and nats_url are needed: only `cairn` brings its own")
	}
	if o.Embedded {
		lock, err := embedded.Lock(c.DataDir)
		if err != nil {
			return err
		}
		p.onStop(func(context.Context) error { return lock.Unlock() })
	}
	if c.PostgresURL == "" && o.OpenDB == nil {
		postgres, err := embedded.StartPostgres(ctx, c.Path("postgres"), p.tel.Log)
		if err != nil {
			return err
		}
		p.onStop(func(context.Context) error { return postgres.Stop() })
		p.config = new(*c)
		p.config.PostgresURL = postgres.URL()
	}
	if c.NATSURL == "" {
		server, err := embedded.StartNATS(ctx, c.Path("nats"), p.tel.Log)
		if err != nil {
			return err
		}
		p.onStop(func(context.Context) error { server.Stop(); return nil })
		if p.nats, err = server.Conn(events.Options(o.Name, p.tel.Log)...); err != nil {
			return err
		}
	} else {
		var opts []nats.Option
		if c.NATSCredentialsFile != "" {
			opts = append(opts, nats.UserCredentials(c.NATSCredentialsFile))
		}
		conn, err := events.Connect(c.NATSURL, o.Name, p.tel.Log, opts...)
		if err != nil {
			return err
		}
		p.nats = conn
	}
	p.onStop(func(context.Context) error { p.nats.Close(); return nil })
	return nil
}
