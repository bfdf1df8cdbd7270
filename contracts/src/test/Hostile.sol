// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Answers every call by its mood: a wallet (`isValidSignature`), a delegation manager or a factory that means harm.
/// The mood is in slot 0 and the block in slot 1, so that the runtime can be placed at any address.
contract Hostile {
    enum Mood {
        /// Every signature is good.
        Yes,
        /// None is.
        No,
        /// Good up to and with block `until`; later it reverts.
        YesUntil,
        /// Good in a simulation without fee; in a transaction it reverts.
        YesInSimulation,
        /// Uses all gas that it is given.
        BurnGas,
        /// Returns a megabyte.
        ReturnMuch,
        /// Reverts with a megabyte.
        RevertMuch,
        /// Makes the call that it was told, keeps what that returned or reverted with, and returns true.
        CallBack
    }

    bytes32 private constant GOOD = bytes32(bytes4(0x1626ba7e));
    uint256 private constant MUCH = 1 << 20;

    Mood public mood;
    uint256 public until;
    address public target;
    bytes public data;
    bytes public answer;

    function behave(Mood mood_, uint256 until_) external {
        mood = mood_;
        until = until_;
    }

    /// What `CallBack` calls.
    function callBack(address target_, bytes calldata data_) external {
        mood = Mood.CallBack;
        target = target_;
        data = data_;
    }

    /// Any call for anyone, for example to let Permit2 take the tokens.
    function execute(address to, bytes calldata input) external {
        (bool ok,) = to.call(input);
        require(ok, "Hostile: call failed");
    }

    fallback() external payable {
        if (mood == Mood.YesUntil) require(block.number <= until, "Hostile: not any more");
        if (mood == Mood.YesInSimulation) require(tx.gasprice == 0, "Hostile: this is not a simulation");
        if (mood == Mood.BurnGas) {
            while (true) {}
        }
        (bytes32 word, uint256 size) = (mood == Mood.No ? bytes32(0) : GOOD, 32);
        if (mood == Mood.CallBack) {
            (, answer) = target.call(data);
            word = bytes32(uint256(1));
        }
        if (mood == Mood.ReturnMuch || mood == Mood.RevertMuch) size = MUCH;
        bool fails = mood == Mood.RevertMuch;
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore(free, word)
            if fails { revert(free, size) }
            return(free, size)
        }
    }

    receive() external payable {}
}
