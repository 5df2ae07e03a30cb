package redis

import "github.com/redis/go-redis/v9"

const (
	nonceLen = 12
	// keepNonces is how many commits may come between one whose answer was lost and its retry.
	keepNonces = 8
)

// commitScript commits to one partition.
//
//	KEYS[1]         the hash
//	KEYS[2]         the sorted set of its keys
//	ARGV[1]         the revision that was read
//	ARGV[2]         the nonce of the commit that made it; "" when there was none
//	ARGV[3]         the nonce of this commit, 12 bytes
//	ARGV[4]         bytes of nonces to keep
//	ARGV[5]         "drop": delete everything first; "check": commit nothing; else ""
//	ARGV[6]         n, the number of keys to delete
//	ARGV[7..6+n]    the keys to delete
//	ARGV[7+n..]     pairs of a key and its packed value
//
// It returns {1, revision} when it has committed, now or before under the same nonce, and {0, revision} when it has not,
// because the partition is at another revision, or at the same one by another commit. A check, and a commit that was
// recognised, write the nonces again, as they are, so that a WAIT on this connection covers what is there.
var commitScript = redis.NewScript(`
local meta = redis.call('HMGET', KEYS[1], 'rev', 'nonces')
local rev, nonces = meta[1] or '0', meta[2] or ''
local length = #ARGV[3]
local same = rev == ARGV[1] and string.sub(nonces, 1, length) == ARGV[2]
if not same or ARGV[5] == 'check' then
  local at = (tonumber(rev) - tonumber(ARGV[1]) - 1) * length
  if same or at >= 0 and string.sub(nonces, at + 1, at + length) == ARGV[3] then
    redis.call('HSET', KEYS[1], 'nonces', nonces)
    return {1, rev}
  end
  return {0, rev}
end
if ARGV[5] == 'drop' then
  redis.call('UNLINK', KEYS[1], KEYS[2])
end
local sets = 7 + tonumber(ARGV[6])
for i = 7, sets - 1 do
  if redis.call('HDEL', KEYS[1], ':' .. ARGV[i]) == 1 then
    redis.call('ZREM', KEYS[2], ARGV[i])
  end
end
for i = sets, #ARGV, 2 do
  if redis.call('HSET', KEYS[1], ':' .. ARGV[i], ARGV[i + 1]) == 1 then
    redis.call('ZADD', KEYS[2], 0, ARGV[i])
  end
end
rev = string.format('%.0f', tonumber(rev) + 1)
redis.call('HSET', KEYS[1], 'rev', rev, 'nonces', string.sub(ARGV[3] .. nonces, 1, tonumber(ARGV[4])))
return {1, rev}
`)

// loadScript writes over a partition.
//
//	KEYS[1]   the hash
//	KEYS[2]   the sorted set of its keys
//	ARGV[1]   its revision from now on
//	ARGV[2]   a nonce, as of a commit
//	ARGV[3..] pairs of a key and its packed value
//
// It returns 1.
var loadScript = redis.NewScript(`
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ':' .. ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], 0, ARGV[i])
end
redis.call('HSET', KEYS[1], 'rev', ARGV[1], 'nonces', ARGV[2])
return 1
`)

// listScript lists keys with their values at one revision.
//
//	KEYS[1]   the hash
//	KEYS[2]   the sorted set of its keys
//	ARGV[1]   ZRANGEBYLEX or ZREVRANGEBYLEX
//	ARGV[2]   where to begin, as that command takes it
//	ARGV[3]   where to end
//	ARGV[4]   how many at most
//
// It returns the revision, the nonces, and then each key and its packed value.
var listScript = redis.NewScript(`
local keys = redis.call(ARGV[1], KEYS[2], ARGV[2], ARGV[3], 'LIMIT', 0, ARGV[4])
local meta = redis.call('HMGET', KEYS[1], 'rev', 'nonces')
local out = {meta[1] or '0', meta[2] or ''}
for _, key in ipairs(keys) do
  out[#out + 1] = key
  out[#out + 1] = redis.call('HGET', KEYS[1], ':' .. key)
end
return out
`)
