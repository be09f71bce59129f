"""What Claude may cost through one rented machine: set aside before a call, given back as far as it was not needed.

aseagi:gateway:claude_usd:ID     USD spent or set aside; two days, so for as long as a machine lives
"""

from __future__ import annotations

from redis import Redis

_KEPT_S = 2 * 86_400
#: Add to what a machine has spent, if it stays below its cap.
_TAKE = """
local spent = tonumber(redis.call('GET', KEYS[1]) or 0) + tonumber(ARGV[1])
if spent > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], tostring(spent), 'EX', ARGV[3])
return 1
"""
_GIVE_BACK = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('INCRBYFLOAT', KEYS[1], -tonumber(ARGV[1])) end
"""


class Allowance:
    """Every machine's.

    Args:
        redis: as the control plane.
        cap_usd: of one machine.
    """

    def __init__(self, redis: Redis, cap_usd: float) -> None:
        self._redis, self._cap_usd = redis, cap_usd

    def take(self, instance_id: str, usd: float) -> bool:
        """Set money aside; False if that is beyond the cap."""
        return bool(self._redis.eval(_TAKE, 1, _key(instance_id), str(usd), str(self._cap_usd), str(_KEPT_S)))

    def give_back(self, instance_id: str, usd: float) -> None:
        """Free what was set aside and not spent."""
        self._redis.eval(_GIVE_BACK, 1, _key(instance_id), str(usd))


def _key(instance_id: str) -> str:
    return f"aseagi:gateway:claude_usd:{instance_id}"
