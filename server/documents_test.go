package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"plimsoll/storage/storagetest"
)

// Commands stand in documents in blocks that are marked "sh". They are run, page by page and in their order; those of the
// README's quick start are run in server/app. A block that is marked "sh elsewhere" needs what no test has.
var (
	block     = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")
	inline    = regexp.MustCompile("`([a-z][a-z-]*(?: [^`]*)?)`")
	isCommand = regexp.MustCompile(`^(plimsoll|curl|go|make|docker|kubectl|age-keygen|redis-cli|certbot|systemctl)\b`)
	flag      = regexp.MustCompile(`--[a-z][a-z-]+`)
	target    = regexp.MustCompile(`(?m)^([a-z]+):`)
)

// mostElsewhere is how many blocks may be marked "sh elsewhere".
const mostElsewhere = 4

// documents are the pages of the repository with their texts, from its root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "out" || name != "." && strings.HasPrefix(name, ".")):
			return fs.SkipDir
		case strings.HasSuffix(name, ".md"):
			b, err := os.ReadFile(filepath.Join("..", name))
			texts[name] = string(b)
			return err
		}
		return nil
	})
	if err != nil || len(texts) < 10 {
		t.Fatalf("%d documents (%v)", len(texts), err)
	}
	return texts
}

func TestCommandsOfDocuments(t *testing.T) {
	ran, elsewhere := 0, 0
	for name, text := range documents(t) {
		var lines []string
		for _, b := range block.FindAllStringSubmatch(text, -1) {
			switch {
			case b[1] == "sh elsewhere":
				elsewhere++
			case b[1] == "sh":
				lines = append(lines, strings.Split(strings.TrimSpace(b[2]), "\n")...)
			case isCommand.MatchString(b[2]):
				t.Errorf("%s: a block of commands is not marked sh:\n%s", name, b[2])
			}
		}
		if len(lines) == 0 || name == "README.md" {
			continue
		}
		ran += len(lines)
		t.Run(name, func(t *testing.T) { follow(t, lines) })
	}
	if ran < 12 || elsewhere > mostElsewhere {
		t.Errorf("%d commands were run, %d blocks are marked as not to be run (at most %d)", ran, elsewhere, mostElsewhere)
	}
}

// follow runs the commands of a page as a reader does who has a server, its token, and the files that the page has him make.
func follow(t *testing.T, lines []string) {
	dir := t.TempDir()
	_, stop := serving(t, dir, "bolt:plimsoll.db") // a store that exists
	stop()
	url, _ := serving(t, dir, "bolt:running.db")
	pushPair(t, filepath.Join(dir, "push.pem"))
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	key := "# created: today\n# public key: " + id.Recipient().String() + "\n" + id.String() + "\n"
	if err := os.WriteFile(filepath.Join(dir, "key.txt"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	mine := strings.NewReplacer("https://mdm.example.com", url, "http://127.0.0.1:8080", url, "localhost:8080", url, "curl -s ", "curl -sSf ",
		"/var/lib/plimsoll/", dir+"/")
	for _, line := range lines {
		if strings.HasPrefix(line, "plimsoll serve ") {
			line = strings.ReplaceAll(line, "/var/lib/plimsoll/plimsoll.db", "own.db") + " --listen 127.0.0.1:0 --catalog none"
			servesThis(t, dir, line)
			continue
		}
		if strings.Contains(line, "redis://127.0.0.1:6379") {
			line = strings.ReplaceAll(line, "redis://127.0.0.1:6379", storagetest.RedisServer(t).URL())
		}
		cmd := exec.Command("bash", "-c", mine.Replace(line))
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TOKEN="+cliToken, "PLIMSOLL_TOKEN="+cliToken, "PLIMSOLL_SERVER="+url)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
}

// servesThis starts a server as a document says, and stops it once it serves.
func servesThis(t *testing.T, dir, line string) {
	t.Helper()
	cmd := exec.Command("bash", "-c", "exec "+line)
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	said := ""
	for buf := make([]byte, 4096); !strings.Contains(said, "serves at"); {
		n, err := out.Read(buf)
		if said += string(buf[:n]); err != nil {
			t.Fatalf("%s: it ends without serving: %s", line, said)
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
}

// pushPair writes a push certificate and its key, such as Apple issues, but signed by nobody.
func pushPair(t *testing.T, file string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	topic := pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, Value: "com.apple.mgmt.External.test"}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{topic}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	text = append(text, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A command that a sentence names exists: a subcommand with its flags, a target of the Makefile; and every flag that a page names is
// one of the program's, or of a program that is named beside it.
func TestCommandsInSentences(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range target.FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	help := map[string]string{}
	helpOf := func(args ...string) string {
		key := strings.Join(args, " ")
		if help[key] == "" {
			out, code := plimsoll(t, t.TempDir(), append(args, "--help")...)
			if code != 0 {
				out = "no such command"
			}
			help[key] = out
		}
		return help[key]
	}
	looked := 0
	for name, text := range documents(t) {
		for _, m := range inline.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
			words := strings.Fields(m[1])
			switch {
			case words[0] == "make" && len(words) > 1:
				looked++
				if !targets[words[1]] {
					t.Errorf("%s names %s, which the Makefile does not have", name, m[1])
				}
			case words[0] == "plimsoll" && len(words) > 1 && !strings.HasPrefix(words[1], "-"):
				looked++
				known := helpOf(words[1])
				if !strings.HasPrefix(known, "Usage: plimsoll "+words[1]) {
					t.Errorf("%s names %s, and there is no such command", name, m[1])
				}
				for _, f := range flag.FindAllString(m[1], -1) {
					if !strings.Contains(known, f) {
						t.Errorf("%s names %s, which has no flag %s", name, m[1], f)
					}
				}
			}
		}
	}
	if looked < 15 {
		t.Errorf("%d commands were looked at", looked)
	}
}
